using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Security.Cryptography;

namespace Trapline.Core;

/// <summary>The address of a network card.</summary>
/// <param name="Value">48 bits; the first byte on the wire is the highest.</param>
public readonly record struct MacAddress(ulong Value)
{
    /// <summary>Bytes on the wire.</summary>
    public const int Length = 6;

    public static MacAddress Broadcast { get; } = new(0xFFFF_FFFF_FFFF);

    /// <summary>One or several cards: not an address that a card can have.</summary>
    public bool IsMulticast => (Value >> 40 & 1) != 0;

    /// <summary>A card's own: not several cards', and not nobody's.</summary>
    public bool IsUnicast => !IsMulticast && Value != 0;

    /// <summary>A new address of a card that nobody made: random, and marked as local (IEEE 802, 8.4).</summary>
    public static MacAddress Random()
    {
        Span<byte> bytes = stackalloc byte[Length];
        RandomNumberGenerator.Fill(bytes);
        bytes[0] = (byte)((bytes[0] & 0xFC) | 2);
        return Read(bytes);
    }

    public static MacAddress Read(ReadOnlySpan<byte> source) =>
        new(((ulong)BinaryPrimitives.ReadUInt16BigEndian(source) << 32) | BinaryPrimitives.ReadUInt32BigEndian(source[2..]));

    public void Write(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt16BigEndian(destination, (ushort)(Value >> 32));
        BinaryPrimitives.WriteUInt32BigEndian(destination[2..], (uint)Value);
    }

    /// <summary>Six bytes in hexadecimal with colons between them.</summary>
    public static bool TryParse([NotNullWhen(true)] string? text, out MacAddress address)
    {
        address = default;
        string[] parts = (text ?? "").Split(':');
        if (parts.Length != Length)
            return false;
        ulong value = 0;
        foreach (string part in parts)
        {
            if (part.Length != 2 || !byte.TryParse(part, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out byte one))
                return false;
            value = (value << 8) | one;
        }
        address = new MacAddress(value);
        return true;
    }

    public override string ToString()
    {
        Span<byte> bytes = stackalloc byte[Length];
        Write(bytes);
        return $"{bytes[0]:x2}:{bytes[1]:x2}:{bytes[2]:x2}:{bytes[3]:x2}:{bytes[4]:x2}:{bytes[5]:x2}";
    }
}
