using System.Buffers.Binary;

namespace Trapline.Virtio.Network;

/// <summary>The checksum of IP, TCP and UDP (RFC 1071).</summary>
internal static class InternetChecksum
{
    /// <summary>Adds 16-bit words, an odd last byte as a word's first, to a sum that is folded in the end.</summary>
    public static ulong Add(ulong sum, ReadOnlySpan<byte> data)
    {
        // Any word size will do: carries come around (RFC 1071, 2). Two of these sums cannot overflow: 65,536 bytes are 2^14 words of 32 bits.
        for (; data.Length >= 8; data = data[8..])
        {
            ulong word = BinaryPrimitives.ReadUInt64BigEndian(data);
            sum += (word >> 32) + (uint)word;
        }
        for (; data.Length >= 2; data = data[2..])
            sum += BinaryPrimitives.ReadUInt16BigEndian(data);
        return data.Length > 0 ? sum + ((ulong)data[0] << 8) : sum;
    }

    /// <summary>The field's value for a sum over everything that it covers, itself as zero.</summary>
    public static ushort Fold(ulong sum)
    {
        while (sum >> 16 != 0)
            sum = (sum & 0xFFFF) + (sum >> 16);
        return (ushort)~sum;
    }

    /// <summary>Finishes a sum that its field holds a part of, the pseudo header's, over all that follows; false if the places are none.</summary>
    /// <param name="start">Where the sum begins, in bytes from the frame's start.</param>
    /// <param name="offset">Where the field is, in bytes from <paramref name="start"/>.</param>
    public static bool TryComplete(Span<byte> frame, int start, int offset)
    {
        if (start + offset + 2 > frame.Length)
            return false;
        ushort sum = Fold(Add(0, frame[start..]));
        // UDP's zero would mean that there is none (RFC 768); for TCP both zeroes are one.
        BinaryPrimitives.WriteUInt16BigEndian(frame[(start + offset)..], sum == 0 ? (ushort)0xFFFF : sum);
        return true;
    }
}
