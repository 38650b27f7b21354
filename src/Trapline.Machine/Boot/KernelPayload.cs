using System.Buffers.Binary;
using System.ComponentModel;
using System.IO.Compression;
using Trapline.Host;

namespace Trapline.Machine.Boot;

/// <summary>What a bzImage carries packed (boot.rst, "payload_offset"): an ELF kernel, in a format that its first bytes tell.</summary>
internal static class KernelPayload
{
    /// <summary>More than any kernel; a file that promises more is not worth the memory.</summary>
    private const uint Most = 256 << 20;

    /// <summary>Unpacks it; null if it is corrupt, too large, or in a format that is left to the kernel (xz, LZMA, bzip2, LZO).</summary>
    /// <param name="limit">The guest's memory, which it must fit in.</param>
    public static ScratchMemory? TryUnpack(ReadOnlySpan<byte> payload, ulong limit)
    {
        if (payload.Length < 8)
            return null;
        // The kernel's build appends the unpacked length (scripts/Makefile.lib, size_append), which in gzip is the format's own last field.
        uint length = BinaryPrimitives.ReadUInt32LittleEndian(payload[^4..]);
        if (length == 0 || length > Math.Min(Most, limit))
            return null;
        ScratchMemory? unpacked = null;
        try
        {
            unpacked = new ScratchMemory((int)length);
            if (TryUnpack(payload, unpacked.GetSpan()))
                return unpacked;
        }
        catch (Exception e) when (e is Win32Exception or InvalidDataException)
        {
            // No memory to spare, or not gzip after all.
        }
        ((IDisposable?)unpacked)?.Dispose();
        return null;
    }

    private static bool TryUnpack(ReadOnlySpan<byte> payload, Span<byte> target)
    {
        if (Lz4Legacy.Recognizes(payload))
            return Lz4Legacy.TryUnpack(payload[..^4], target);
        return BinaryPrimitives.ReadUInt32LittleEndian(payload) switch
        {
            0xFD2F_B528 => Zstandard.TryUnpackWhole(payload[..^4], target), // RFC 8878, 3.1.1
            uint start when (start & 0xFF_FFFF) == 0x08_8B1F => TryGunzip(payload, target), // RFC 1952, 2.3.1: deflate
            _ => false,
        };
    }

    private static bool TryGunzip(ReadOnlySpan<byte> payload, Span<byte> target)
    {
        using MemoryStream packed = new(payload.ToArray());
        using GZipStream stream = new(packed, CompressionMode.Decompress);
        return stream.ReadAtLeast(target, target.Length, throwOnEndOfStream: false) == target.Length && stream.ReadByte() < 0;
    }
}
