using System.Globalization;
using Trapline.Core;

namespace Trapline.Cli.Options;

/// <summary>Addresses and bytes as people write them.</summary>
internal static class Hexadecimal
{
    /// <summary>A guest address, with or without 0x.</summary>
    public static ulong ParseAddress(string option, string text)
    {
        string digits = text.StartsWith("0x", StringComparison.OrdinalIgnoreCase) ? text[2..] : text;
        if (!ulong.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong address))
            throw new BadInputException($"{option} '{text}' is not an address: write it in hexadecimal, such as 0x401000");
        if ((long)(address << 7) >> 7 != (long)address)
            throw new BadInputException($"{option} '{text}' is no address of this architecture: bits 57 to 63 must repeat bit 56");
        return address;
    }

    public static ulong[] ParseAddresses(string option, string text) => [.. text.Split(',').Select(a => ParseAddress(option, a))];

    public static byte[] ParseBytes(string option, string text)
    {
        string digits = string.Concat(text.Where(c => !char.IsWhiteSpace(c)));
        if (digits.Length == 0 || digits.Length % 2 != 0 || !digits.All(char.IsAsciiHexDigit))
            throw new BadInputException($"{option} '{text}' is not code: write whole bytes in hexadecimal, such as '48 8b 07 c3'");
        return Convert.FromHexString(digits);
    }
}
