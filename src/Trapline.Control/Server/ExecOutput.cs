using Trapline.Agent;

namespace Trapline.Control.Server;

/// <summary>A program's stdout or stderr, on its way to a client.</summary>
internal sealed class ExecOutput(ExecWriter writer, FrameType type) : Stream
{
    private volatile bool _refused;

    public override bool CanRead => false;
    public override bool CanSeek => false;
    public override bool CanWrite => true;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    /// <summary>The client wants no more of it: as a pipe whose reader has closed.</summary>
    public void Refuse() => _refused = true;

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        if (_refused)
            throw new IOException("nobody reads this stream any more");
        writer.Send(type, buffer);
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));
    public override void Flush() { }
    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();
}
