namespace Trapline.Cli.Terminal;

/// <summary>What is typed, less the escape sequences.</summary>
internal sealed class TypedStream(Stream terminal, EscapeFilter escape) : Stream
{
    public override bool CanRead => true;
    public override bool CanSeek => false;
    public override bool CanWrite => false;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    public override int Read(Span<byte> buffer)
    {
        while (true)
        {
            int count = terminal.Read(buffer);
            if (count <= 0)
                return 0;
            int kept = escape.Apply(buffer[..count]).Length;
            if (kept > 0)
                return kept;
        }
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));
    public override void Flush() { }
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();
}
