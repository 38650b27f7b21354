using System.Buffers.Binary;

namespace Trapline.Agent;

/// <summary>Cuts the bytes that the guest sends into frames, however they are split on the way.</summary>
/// <remarks>What the guest sends is not trusted: any bytes at all are taken without an exception.</remarks>
public sealed class FrameDecoder
{
    /// <summary>The payload is valid during the call only.</summary>
    public delegate void FrameHandler(FrameType type, byte program, ReadOnlySpan<byte> payload);

    private readonly byte[] _frame = new byte[Frame.HeaderSize + ushort.MaxValue];
    private int _size;

    /// <summary>The bytes of a frame that has not come whole yet.</summary>
    public byte[] Begun
    {
        get => _frame[.._size];
        set
        {
            _size = Math.Min(value.Length, _frame.Length - 1);
            value.AsSpan(0, _size).CopyTo(_frame);
        }
    }

    /// <summary>Hands every frame that <paramref name="data"/> completes to <paramref name="handler"/>.</summary>
    public void Decode(ReadOnlySpan<byte> data, FrameHandler handler)
    {
        while (!data.IsEmpty)
        {
            int wanted = _size < Frame.HeaderSize
                ? Frame.HeaderSize - _size
                : Frame.HeaderSize + BinaryPrimitives.ReadUInt16LittleEndian(_frame.AsSpan(2)) - _size;
            int taken = Math.Min(wanted, data.Length);
            data[..taken].CopyTo(_frame.AsSpan(_size));
            _size += taken;
            data = data[taken..];
            if (_size < Frame.HeaderSize)
                continue;
            int length = BinaryPrimitives.ReadUInt16LittleEndian(_frame.AsSpan(2));
            if (_size < Frame.HeaderSize + length)
                continue;
            _size = 0;
            handler((FrameType)_frame[0], _frame[1], _frame.AsSpan(Frame.HeaderSize, length));
        }
    }
}
