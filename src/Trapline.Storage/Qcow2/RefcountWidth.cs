using System.Buffers.Binary;

namespace Trapline.Storage.Qcow2;

/// <summary>Entries of refcount blocks, of 1 to 64 bits (qcow2: Host cluster management).</summary>
internal readonly record struct RefcountWidth(int Order)
{
    public int Bits => 1 << Order;

    public ulong Largest => ulong.MaxValue >> (64 - Bits);

    /// <summary>Entries in a block, as a power of two.</summary>
    public int BlockBits(int clusterBits) => clusterBits + 3 - Order;

    public ulong Get(ReadOnlySpan<byte> block, int index) => Order switch
    {
        3 => block[index],
        4 => BinaryPrimitives.ReadUInt16BigEndian(block[(index * 2)..]),
        5 => BinaryPrimitives.ReadUInt32BigEndian(block[(index * 4)..]),
        6 => BinaryPrimitives.ReadUInt64BigEndian(block[(index * 8)..]),
        _ => (ulong)block[index * Bits / 8] >> (index * Bits % 8) & Largest,
    };

    /// <returns>The byte from which on the block was changed.</returns>
    public int Set(Span<byte> block, int index, ulong value)
    {
        switch (Order)
        {
            case 3:
                block[index] = (byte)value;
                return index;
            case 4:
                BinaryPrimitives.WriteUInt16BigEndian(block[(index * 2)..], (ushort)value);
                return index * 2;
            case 5:
                BinaryPrimitives.WriteUInt32BigEndian(block[(index * 4)..], (uint)value);
                return index * 4;
            case 6:
                BinaryPrimitives.WriteUInt64BigEndian(block[(index * 8)..], value);
                return index * 8;
            default:
                int at = index * Bits / 8, shift = index * Bits % 8;
                block[at] = (byte)((block[at] & ~((int)Largest << shift)) | ((int)value << shift));
                return at;
        }
    }
}
