using System.ComponentModel;
using System.Runtime.InteropServices;

namespace Trapline.Host;

/// <summary>A stream over a file descriptor that reads and writes as read(2) and write(2) do.</summary>
/// <remarks>
/// .NET's own streams differ where it matters here: the console's hides a closed pipe and edits lines on terminals, a file stream keeps a
/// position of its own, so that stdout and stderr into one file would overwrite each other.
/// With <c>dropWhenFull</c>, on a non-blocking descriptor, what does not fit is lost: a pseudo-terminal that nobody reads must not stop the guest.
/// Unsafe for the calls alone: each gets the pinned span it was given and that span's length.
/// </remarks>
public sealed unsafe class DescriptorStream(int descriptor, bool dropWhenFull = false) : Stream
{
    public static DescriptorStream StandardInput { get; } = new(0);
    public static DescriptorStream StandardOutput { get; } = new(1);
    public static DescriptorStream StandardError { get; } = new(2);

    public override bool CanRead => true;
    public override bool CanSeek => false;
    public override bool CanWrite => true;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    public override int Read(Span<byte> buffer)
    {
        fixed (byte* start = buffer)
        {
            while (true)
            {
                nint count = TerminalCalls.Read(descriptor, start, (nuint)buffer.Length);
                if (count >= 0)
                    return (int)count;
                WaitOrThrow(TerminalCalls.PollIn);
            }
        }
    }

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        fixed (byte* start = buffer)
        {
            int done = 0;
            while (done < buffer.Length)
            {
                nint count = TerminalCalls.Write(descriptor, start + done, (nuint)(buffer.Length - done));
                if (count >= 0)
                    done += (int)count;
                else if (dropWhenFull && Marshal.GetLastPInvokeError() == TerminalCalls.Eagain)
                    return;
                else
                    WaitOrThrow(TerminalCalls.PollOut);
            }
        }
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));
    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));
    public override void Flush() { }
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();

    /// <summary>Interrupted: at once again. Not ready, on a descriptor that someone made non-blocking: when it is. Else an error.</summary>
    private void WaitOrThrow(short events)
    {
        int error = Marshal.GetLastPInvokeError();
        if (error == TerminalCalls.Eintr)
            return;
        if (error != TerminalCalls.Eagain)
            throw new IOException(new Win32Exception(error).Message);
        TerminalCalls.PollEntry entry = new() { Descriptor = descriptor, Events = events };
        TerminalCalls.Poll(&entry, 1, -1);
    }
}
