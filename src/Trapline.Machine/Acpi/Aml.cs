using System.Buffers.Binary;
using System.Text;

namespace Trapline.Machine.Acpi;

/// <summary>ACPI machine language (ACPI 6.5, chapter 20): each method returns the bytes of one term, to be nested like the source it stands for.</summary>
internal static class Aml
{
    public static readonly byte[] Arg3 = [0x6B];

    public static byte[] Scope(string name, params byte[][] terms) => [0x10, .. WithLength([.. NameString(name), .. Concat(terms)])];

    public static byte[] Device(string name, params byte[][] terms) => [0x5B, 0x82, .. WithLength([.. NameString(name), .. Concat(terms)])];

    /// <summary>A method that takes <paramref name="arguments"/> arguments; not serialized.</summary>
    public static byte[] Method(string name, int arguments, params byte[][] terms) =>
        [0x14, .. WithLength([.. NameString(name), (byte)arguments, .. Concat(terms)])];

    public static byte[] Return(byte[] value) => [0xA4, .. value];

    /// <summary>Tells the operating system that something happened to a device.</summary>
    public static byte[] Notify(string device, ulong what) => [0x86, .. NameString(device), .. Integer(what)];

    public static byte[] Name(string name, byte[] value) => [0x08, .. NameString(name), .. value];

    public static byte[] Integer(ulong value)
    {
        switch (value)
        {
            case 0: return [0x00];
            case 1: return [0x01];
            case <= byte.MaxValue: return [0x0A, (byte)value];
            case <= ushort.MaxValue: return [0x0B, .. Word((ushort)value)];
            case <= uint.MaxValue: return [0x0C, .. DoubleWord((uint)value)];
        }
        byte[] bytes = new byte[9];
        bytes[0] = 0x0E;
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(1), value);
        return bytes;
    }

    public static byte[] Text(string value) => [0x0D, .. Encoding.ASCII.GetBytes(value), 0];

    /// <summary>A compressed identifier such as PNP0501 (ACPI 6.5, 19.3.4): three letters and four hexadecimal digits.</summary>
    public static byte[] EisaId(string id)
    {
        int vendor = ((id[0] - '@') << 10) | ((id[1] - '@') << 5) | (id[2] - '@');
        ushort product = Convert.ToUInt16(id[3..], 16);
        return [0x0C, (byte)(vendor >> 8), (byte)vendor, (byte)(product >> 8), (byte)product];
    }

    public static byte[] Package(params byte[][] elements) => [0x12, .. WithLength([(byte)elements.Length, .. Concat(elements)])];

    /// <summary>A resource template: the descriptors, the end tag, in a buffer (ACPI 6.5, 6.4).</summary>
    public static byte[] Resources(params byte[][] descriptors)
    {
        byte[] content = [.. Concat(descriptors), 0x79, 0x00];
        return [0x11, .. WithLength([.. Integer((ulong)content.Length), .. content])];
    }

    /// <summary>A path: an optional root, then names of up to four characters separated by dots.</summary>
    public static byte[] NameString(string path)
    {
        List<byte> bytes = [];
        if (path.StartsWith('\\'))
        {
            bytes.Add((byte)'\\');
            path = path[1..];
        }
        string[] segments = path.Split('.');
        if (segments.Length == 2)
            bytes.Add(0x2E);
        else if (segments.Length > 2)
            bytes.AddRange([0x2F, (byte)segments.Length]);
        foreach (string segment in segments)
            bytes.AddRange(Encoding.ASCII.GetBytes(segment.PadRight(4, '_')));
        return [.. bytes];
    }

    public static byte[] Word(ushort value) => [(byte)value, (byte)(value >> 8)];

    public static byte[] DoubleWord(uint value) => [.. Word((ushort)value), .. Word((ushort)(value >> 16))];

    public static byte[] QuadWord(ulong value) => [.. DoubleWord((uint)value), .. DoubleWord((uint)(value >> 32))];

    public static byte[] Concat(byte[][] terms) => [.. terms.SelectMany(t => t)];

    /// <summary>PkgLength counts itself: one byte up to 63, else a count of further bytes and four low bits (ACPI 6.5, 20.2.4).</summary>
    private static byte[] WithLength(byte[] content)
    {
        if (content.Length + 1 <= 0x3F)
            return [(byte)(content.Length + 1), .. content];
        int extra = content.Length + 2 <= 0xFFF ? 1 : content.Length + 3 <= 0xF_FFFF ? 2 : 3;
        int total = content.Length + 1 + extra;
        byte[] length = new byte[1 + extra];
        length[0] = (byte)((extra << 6) | (total & 0xF));
        for (int i = 0; i < extra; i++)
            length[i + 1] = (byte)(total >> (4 + (8 * i)));
        return [.. length, .. content];
    }
}
