using System.Net.Sockets;
using System.Runtime.InteropServices;
using Trapline.Host;

namespace Trapline.Network.Switch;

internal static class SocketStreams
{
    /// <summary>The same socket for frames; it ends with the result.</summary>
    public static StreamSocket ToStream(this Socket socket)
    {
        socket.Blocking = true;
        socket.SendBufferSize = socket.ReceiveBufferSize = FrameLink.SocketBytes;
        SafeHandle handle = socket.SafeHandle;
        // Its finalizer would close the descriptor, which is the result's from here on.
        GC.SuppressFinalize(socket);
        return new StreamSocket(handle);
    }
}
