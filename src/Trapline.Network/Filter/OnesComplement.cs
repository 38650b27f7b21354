using System.Buffers.Binary;

namespace Trapline.Network.Filter;

/// <summary>The sum of the Internet's checksums (RFC 1071).</summary>
internal static class OnesComplement
{
    /// <param name="sum">What was summed before.</param>
    public static ushort Sum(ReadOnlySpan<byte> data, uint sum = 0)
    {
        for (; data.Length >= 2; data = data[2..])
            sum += BinaryPrimitives.ReadUInt16BigEndian(data);
        if (data.Length > 0)
            sum += (uint)data[0] << 8;
        while (sum >> 16 != 0)
            sum = (sum & 0xFFFF) + (sum >> 16);
        return (ushort)sum;
    }
}
