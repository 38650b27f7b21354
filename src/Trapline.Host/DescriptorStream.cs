using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Trapline.Host;

/// <summary>A stream over a file descriptor that reads and writes as read(2) and write(2) do.</summary>
/// <remarks>
/// .NET's own streams differ where it matters here: the console's hides a closed pipe and edits lines on terminals, a file stream keeps a
/// position of its own, so that stdout and stderr into one file would overwrite each other.
/// With <c>dropWhenFull</c>, on a non-blocking descriptor, what does not fit is lost: a pseudo-terminal that nobody reads must not stop the guest.
/// With a <c>closing</c> descriptor, a read ends (0 bytes) when that one becomes readable, so that whoever closes the stream can end its readers.
/// Unsafe for the calls alone: each gets the pinned span it was given and that span's length.
/// </remarks>
public sealed unsafe class DescriptorStream(SafeFileHandle handle, bool dropWhenFull = false, SafeFileHandle? closing = null) : Stream
{
    public static DescriptorStream StandardInput { get; } = new(new SafeFileHandle(0, ownsHandle: false));
    public static DescriptorStream StandardOutput { get; } = new(new SafeFileHandle(1, ownsHandle: false));
    public static DescriptorStream StandardError { get; } = new(new SafeFileHandle(2, ownsHandle: false));

    public override bool CanRead => true;
    public override bool CanSeek => false;
    public override bool CanWrite => true;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    /// <exception cref="ObjectDisposedException">The descriptor was closed.</exception>
    public override int Read(Span<byte> buffer)
    {
        // A number that is in use here cannot become another file's meanwhile.
        using Use use = new(handle, closing);
        fixed (byte* start = buffer)
        {
            while (true)
            {
                nint count = TerminalCalls.Read(use.Descriptor, start, (nuint)buffer.Length);
                if (count >= 0)
                    return (int)count;
                if (!WaitOrThrow(use, TerminalCalls.PollIn))
                    return 0;
            }
        }
    }

    /// <exception cref="ObjectDisposedException">The descriptor was closed.</exception>
    public override void Write(ReadOnlySpan<byte> buffer)
    {
        using Use use = new(handle, closing);
        fixed (byte* start = buffer)
        {
            int done = 0;
            while (done < buffer.Length)
            {
                nint count = TerminalCalls.Write(use.Descriptor, start + done, (nuint)(buffer.Length - done));
                if (count >= 0)
                    done += (int)count;
                else if (dropWhenFull && Marshal.GetLastPInvokeError() == TerminalCalls.Eagain)
                    return;
                else if (!WaitOrThrow(use, TerminalCalls.PollOut))
                    return;
            }
        }
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));
    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));
    public override void Flush() { }
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();

    /// <summary>Interrupted: at once again. Not ready, on a descriptor that is non-blocking: when it is. Else an error.</summary>
    /// <returns>False if the stream is being closed.</returns>
    private static bool WaitOrThrow(Use use, short events)
    {
        int error = Marshal.GetLastPInvokeError();
        if (error == TerminalCalls.Eintr)
            return true;
        if (error != TerminalCalls.Eagain)
            throw new IOException(new Win32Exception(error).Message);
        TerminalCalls.PollEntry* entries = stackalloc TerminalCalls.PollEntry[2];
        entries[0] = new() { Descriptor = use.Descriptor, Events = events };
        entries[1] = new() { Descriptor = use.Closing, Events = TerminalCalls.PollIn }; // -1: ignored, poll(2)
        TerminalCalls.Poll(entries, 2, -1);
        return entries[1].Returned == 0;
    }

    /// <summary>Holds descriptors open while a call is under way.</summary>
    private readonly ref struct Use
    {
        private readonly SafeFileHandle _handle;
        private readonly SafeFileHandle? _closing;

        public Use(SafeFileHandle handle, SafeFileHandle? closing)
        {
            bool held = false;
            handle.DangerousAddRef(ref held);
            _handle = handle;
            if (closing == null)
                return;
            try
            {
                closing.DangerousAddRef(ref held);
            }
            catch (ObjectDisposedException)
            {
                handle.DangerousRelease();
                throw;
            }
            _closing = closing;
        }

        public int Descriptor => (int)_handle.DangerousGetHandle();
        public int Closing => (int)(_closing?.DangerousGetHandle() ?? -1);

        public void Dispose()
        {
            _handle.DangerousRelease();
            _closing?.DangerousRelease();
        }
    }
}
