using System.Buffers.Binary;
using Trapline.Agent;

namespace Trapline.Control.Server;

/// <summary>A program's stdin, filled by a client within its credit and emptied by the thread that feeds the program.</summary>
internal sealed class ExecInput(ExecWriter writer) : Stream
{
    private readonly Lock _gate = new();
    private readonly SemaphoreSlim _arrived = new(0);
    private readonly byte[] _ring = new byte[Frame.StreamWindow];
    private int _start;
    private int _count;
    private bool _ended;

    public override bool CanRead => true;
    public override bool CanSeek => false;
    public override bool CanWrite => false;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    /// <summary>Never waits. False if the client has no credit for so much.</summary>
    public bool TryFill(ReadOnlySpan<byte> data)
    {
        lock (_gate)
        {
            if (_count + data.Length > _ring.Length)
                return false;
            int end = (_start + _count) % _ring.Length;
            int first = Math.Min(data.Length, _ring.Length - end);
            data[..first].CopyTo(_ring.AsSpan(end));
            data[first..].CopyTo(_ring);
            _count += data.Length;
        }
        _arrived.Release();
        return true;
    }

    /// <summary>Nothing more will come.</summary>
    public void End()
    {
        lock (_gate)
            _ended = true;
        _arrived.Release();
    }

    /// <summary>Waits for input; 0 at its end.</summary>
    public override int Read(Span<byte> buffer)
    {
        while (true)
        {
            int taken;
            lock (_gate)
            {
                taken = Math.Min(Math.Min(_count, buffer.Length), _ring.Length - _start);
                _ring.AsSpan(_start, taken).CopyTo(buffer);
                _start = (_start + taken) % _ring.Length;
                _count -= taken;
                if (taken == 0 && _ended)
                    return 0;
            }
            if (taken > 0)
            {
                Span<byte> count = stackalloc byte[4];
                BinaryPrimitives.WriteUInt32LittleEndian(count, (uint)taken);
                writer.Send(FrameType.AcknowledgeStdin, count);
                return taken;
            }
            _arrived.Wait();
        }
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));
    public override void Flush() { }
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();
}
