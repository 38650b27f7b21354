using System.Buffers.Binary;
using System.Text;

namespace Trapline.Machine.Tests;

/// <summary>Small images of each kind that the loaders take, made here.</summary>
internal static class BootImages
{
    public static byte[] BzImage(ushort version = 0x20F, bool entry64 = true)
    {
        byte[] image = new byte[(5 * 512) + 8192];
        image[0x1F1] = 4;
        Put32(image, 0x1F4, 8192 / 16);
        Put16(image, 0x1FE, 0xAA55);
        image[0x200] = 0xEB;
        image[0x201] = 0x66;
        "HdrS"u8.CopyTo(image.AsSpan(0x202));
        Put16(image, 0x206, version);
        image[0x211] = 1;
        Put32(image, 0x214, 0x10_0000);
        Put32(image, 0x22C, 0x7FFF_FFFF);
        Put32(image, 0x230, 0x20_0000);
        image[0x234] = 1;
        Put16(image, 0x236, (ushort)(entry64 ? 3 : 2));
        Put32(image, 0x238, 2047);
        Put64(image, 0x258, 0x100_0000);
        Put32(image, 0x260, 0x20_0000);
        return image;
    }

    public static byte[] Pvh(bool wide)
    {
        byte[] image = new byte[0x3000];
        ElfHeader(image, wide, 2, 0x10_0000);
        Segment(image, wide, 0, 1, 0x1000, 0x10_0000, 0x1000, 0x4000);
        Segment(image, wide, 1, 4, 0x2000, 0, 24, 24);
        Put32(image, 0x2000, 4);
        Put32(image, 0x2004, 4);
        Put32(image, 0x2008, 18);
        "Xen\0"u8.CopyTo(image.AsSpan(0x200C));
        Put32(image, 0x2010, 0x10_0040);
        return image;
    }

    public static byte[] MultibootElf(bool wide = false, uint address = 0x40_0000)
    {
        byte[] image = new byte[0x3000];
        ElfHeader(image, wide, 1, address + 0x10);
        Segment(image, wide, 0, 1, 0x1000, address, 0x2000, 0x5000);
        MultibootHeader(image, 0x1000, 3);
        return image;
    }

    public static byte[] MultibootFlat()
    {
        byte[] image = new byte[0x2000];
        MultibootHeader(image, 0x40, 0x1_0003);
        Put32(image, 0x4C, 0x10_0040);
        Put32(image, 0x50, 0x10_0000);
        Put32(image, 0x54, 0x10_2000);
        Put32(image, 0x58, 0x10_8000);
        Put32(image, 0x5C, 0x10_0060);
        return image;
    }

    public static byte[] BootSector()
    {
        byte[] image = new byte[512];
        image[0] = 0xF4;
        Put16(image, 510, 0xAA55);
        return image;
    }

    private static void MultibootHeader(byte[] image, int at, uint flags)
    {
        Put32(image, at, 0x1BAD_B002);
        Put32(image, at + 4, flags);
        Put32(image, at + 8, unchecked(0u - 0x1BAD_B002 - flags));
    }

    private static void ElfHeader(byte[] image, bool wide, ushort segments, uint entry)
    {
        Encoding.Latin1.GetBytes("\u007fELF").CopyTo(image, 0);
        image[4] = (byte)(wide ? 2 : 1);
        image[5] = image[6] = 1;
        Put16(image, 16, 2);
        Put16(image, 18, (ushort)(wide ? 62 : 3));
        if (wide)
        {
            Put64(image, 24, entry);
            Put64(image, 32, 64);
            Put16(image, 54, 56);
            Put16(image, 56, segments);
        }
        else
        {
            Put32(image, 24, entry);
            Put32(image, 28, 64);
            Put16(image, 42, 32);
            Put16(image, 44, segments);
        }
    }

    private static void Segment(byte[] image, bool wide, int index, uint type, uint offset, uint address, uint length, uint memory)
    {
        int at = 64 + (index * (wide ? 56 : 32));
        Put32(image, at, type);
        if (wide)
        {
            Put64(image, at + 8, offset);
            Put64(image, at + 24, address);
            Put64(image, at + 32, length);
            Put64(image, at + 40, memory);
        }
        else
        {
            Put32(image, at + 4, offset);
            Put32(image, at + 12, address);
            Put32(image, at + 16, length);
            Put32(image, at + 20, memory);
        }
    }

    public static void Put16(byte[] image, int at, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(image.AsSpan(at), value);

    public static void Put32(byte[] image, int at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(at), value);

    public static void Put64(byte[] image, int at, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(image.AsSpan(at), value);
}
