using System.Buffers.Binary;
using System.Numerics;

namespace Trapline.Machine;

/// <summary>CRC-32C (Castagnoli, as in RFC 3720, B.4), which the host's processor computes: the checksum of snapshot files.</summary>
internal static class Crc32C
{
    public static uint Compute(ReadOnlySpan<byte> data)
    {
        uint crc = uint.MaxValue;
        for (; data.Length >= sizeof(ulong); data = data[sizeof(ulong)..])
            crc = BitOperations.Crc32C(crc, BinaryPrimitives.ReadUInt64LittleEndian(data));
        foreach (byte b in data)
            crc = BitOperations.Crc32C(crc, b);
        return ~crc;
    }
}
