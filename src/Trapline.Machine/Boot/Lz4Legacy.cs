using System.Buffers.Binary;
using K4os.Compression.LZ4;

namespace Trapline.Machine.Boot;

/// <summary>LZ4's legacy frame, which Linux packs kernels in: a magic number, then blocks that unpack to 8 MiB each, the last to what is left.</summary>
/// <remarks>lz4_Frame_format.md, "Legacy frame". It names neither its unpacked length nor its end: both come from outside.</remarks>
internal static class Lz4Legacy
{
    private const uint Magic = 0x184C_2102;
    private const int BlockLength = 8 << 20;

    public static bool Recognizes(ReadOnlySpan<byte> frame) => frame.Length >= 4 && BinaryPrimitives.ReadUInt32LittleEndian(frame) == Magic;

    /// <summary>Fills the target. False unless the frame is whole and yields just that.</summary>
    public static bool TryUnpack(ReadOnlySpan<byte> frame, Span<byte> target)
    {
        if (!Recognizes(frame))
            return false;
        frame = frame[4..];
        while (!target.IsEmpty)
        {
            if (frame.Length < 4)
                return false;
            uint packed = BinaryPrimitives.ReadUInt32LittleEndian(frame);
            frame = frame[4..];
            if (packed > (uint)frame.Length)
                return false;
            Span<byte> block = target[..Math.Min(BlockLength, target.Length)];
            if (LZ4Codec.Decode(frame[..(int)packed], block) != block.Length)
                return false;
            frame = frame[(int)packed..];
            target = target[block.Length..];
        }
        return frame.IsEmpty;
    }
}
