// Unix sockets in a runtime directory; other hosts will want a place of their own kind.
[assembly: System.Runtime.Versioning.SupportedOSPlatform("linux")]
