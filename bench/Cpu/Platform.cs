// The command line is built and tested on Linux; the host's part stands behind Trapline.Host.
[assembly: System.Runtime.Versioning.SupportedOSPlatform("linux")]
