using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Trapline.Host;

/// <summary>Folders of the host, as far as .NET does not reach.</summary>
public static class HostFolder
{
    /// <summary>Has the host put a folder's entries onto the disk: a file that was renamed into it is there after a power cut (fsync(2)).</summary>
    /// <exception cref="IOException">The host cannot.</exception>
    public static void Flush(string path)
    {
        int descriptor = Libc.Open(path, Libc.OpenFolder, 0);
        int error = descriptor < 0 || Libc.Fsync(descriptor) != 0 ? Marshal.GetLastPInvokeError() : 0;
        if (descriptor >= 0)
            Libc.Close(descriptor);
        if (error != 0)
            throw new IOException(new Win32Exception(error).Message);
    }
}
