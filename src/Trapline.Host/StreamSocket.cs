using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Trapline.Host;

/// <summary>A connected stream socket as programs that exchange frames use it: gathers without copying, and never waits where it must not.</summary>
/// <remarks>Unsafe for the calls alone: each gets pinned spans with their lengths, or locals of the method.</remarks>
public sealed unsafe class StreamSocket : IDisposable
{
    private readonly SafeHandle _handle;

    /// <param name="handle">Becomes this object's own.</param>
    public StreamSocket(SafeHandle handle) => _handle = handle;

    /// <summary>Two sockets that are connected to each other (unix(7)). Neither is inherited by programs that this process starts.</summary>
    /// <param name="bufferBytes">How much the kernel may hold in each direction; it gives less to the unprivileged.</param>
    /// <exception cref="IOException">The process has no descriptor left.</exception>
    public static (StreamSocket Ours, SafeHandle Theirs) Pair(int bufferBytes)
    {
        int* both = stackalloc int[2];
        if (Libc.SocketPair(Libc.FamilyUnix, Libc.SocketStream | Libc.SocketCloseOnExec, 0, both) != 0)
            throw new IOException(new Win32Exception(Marshal.GetLastPInvokeError()).Message);
        for (int i = 0; i < 2; i++)
        {
            Libc.SetSocketOption(both[i], Libc.SocketLevel, Libc.SendBuffer, &bufferBytes, sizeof(int));
            Libc.SetSocketOption(both[i], Libc.SocketLevel, Libc.ReceiveBuffer, &bufferBytes, sizeof(int));
        }
        return (new StreamSocket(new SafeFileHandle(both[0], ownsHandle: true)), new SafeFileHandle(both[1], ownsHandle: true));
    }

    /// <summary>Waits for data.</summary>
    /// <returns>How much; 0 when the other end is closed or <see cref="Shutdown"/> was called.</returns>
    public int Receive(Span<byte> buffer)
    {
        fixed (byte* start = buffer)
        {
            while (true)
            {
                nint count = Libc.Receive(Descriptor, start, (nuint)buffer.Length, 0);
                if (count >= 0)
                    return (int)count;
                // A socket that .NET accepted may be non-blocking.
                int error = Marshal.GetLastPInvokeError();
                if (error == TerminalCalls.Eagain)
                    Wait(TerminalCalls.PollIn, -1);
                else if (error != TerminalCalls.Eintr)
                    return 0;
            }
        }
    }

    /// <summary>Waits until there is something to receive, and leaves it there.</summary>
    /// <returns>False if there is nothing in this time, or the other end is closed.</returns>
    public bool WaitForData(int milliseconds)
    {
        byte first;
        return Wait(TerminalCalls.PollIn, milliseconds) && Libc.Receive(Descriptor, &first, 1, Libc.Peek | Libc.DontWait) > 0;
    }

    /// <summary>Sends what there is room for, of two pieces as one.</summary>
    /// <returns>How many bytes; 0 if there is no room now, -1 if nobody is at the other end.</returns>
    public int Send(ReadOnlySpan<byte> head, ReadOnlySpan<byte> body)
    {
        fixed (byte* first = head, second = body)
        {
            Libc.IoVector* vectors = stackalloc Libc.IoVector[2];
            vectors[0] = new() { Start = first, Length = (nuint)head.Length };
            vectors[1] = new() { Start = second, Length = (nuint)body.Length };
            Libc.Message message = new() { Vectors = vectors, VectorCount = 2 };
            nint count;
            do
                count = Libc.SendMessage(Descriptor, &message, Libc.DontWait | Libc.NoSignal);
            while (count < 0 && Marshal.GetLastPInvokeError() == TerminalCalls.Eintr);
            return count >= 0 ? (int)count : Marshal.GetLastPInvokeError() == TerminalCalls.Eagain ? 0 : -1;
        }
    }

    /// <summary>Waits until there is room to send; false if there is none in this time.</summary>
    public bool WaitForRoom(int milliseconds) => Wait(TerminalCalls.PollOut, milliseconds);

    /// <summary>Ends both directions: a <see cref="Receive"/> under way returns 0.</summary>
    public void Shutdown() => Libc.Shutdown(Descriptor, Libc.ShutdownBoth);

    public void Dispose() => _handle.Dispose();

    private int Descriptor => (int)_handle.DangerousGetHandle();

    private bool Wait(short events, int milliseconds)
    {
        TerminalCalls.PollEntry entry = new() { Descriptor = Descriptor, Events = events };
        return TerminalCalls.Poll(&entry, 1, milliseconds) > 0;
    }
}
