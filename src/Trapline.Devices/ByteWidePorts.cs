using Trapline.Core;

namespace Trapline.Devices;

/// <summary>Ports of a chip with an 8-bit data path: a wider access is several byte accesses at rising offsets, as on the ISA bus.</summary>
public abstract class ByteWidePorts : IPortDevice
{
    /// <summary>Reads one register; offsets that the chip does not decode return 0xFF.</summary>
    protected abstract byte ReadByte(int offset);

    /// <summary>Writes one register; offsets that the chip does not decode are ignored.</summary>
    protected abstract void WriteByte(int offset, byte value);

    public uint ReadPort(ushort offset, int size)
    {
        uint value = ReadByte(offset);
        for (int i = 1; i < size; i++)
            value |= (uint)ReadByte(offset + i) << (i * 8);
        return value;
    }

    public void WritePort(ushort offset, int size, uint value)
    {
        for (int i = 0; i < size; i++)
            WriteByte(offset + i, (byte)(value >> (i * 8)));
    }
}
