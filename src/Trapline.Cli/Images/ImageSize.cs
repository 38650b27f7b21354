using System.Globalization;
using Trapline.Core;
using Trapline.Storage;

namespace Trapline.Cli.Images;

/// <summary>Lengths of disks as people write them: bytes, or a number with K, M, G or T.</summary>
internal static class ImageSize
{
    private const string Advice = "use bytes, or a number with K, M, G or T, such as 10G";

    /// <summary>Rounded up to whole sectors of 512 bytes.</summary>
    public static long Parse(string what, string text)
    {
        int shift = text.Length == 0 ? 0 : char.ToUpperInvariant(text[^1]) switch
        {
            'K' => 10,
            'M' => 20,
            'G' => 30,
            'T' => 40,
            _ => 0,
        };
        string digits = shift > 0 ? text[..^1] : text;
        if (!decimal.TryParse(digits, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out decimal number)
            || number <= 0 || number > (1L << 60) >> shift)
            throw new BadInputException($"{what} '{text}' is not a size: {Advice}");
        return ((long)Math.Ceiling(number * (1L << shift)) + 511) & -512;
    }

    /// <summary>For people.</summary>
    public static string Show(long bytes)
    {
        string[] units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        int unit = 0;
        double value = bytes;
        for (; value >= 1024 && unit < units.Length - 1; unit++)
            value /= 1024;
        return string.Create(CultureInfo.InvariantCulture, $"{value:0.##} {units[unit]}");
    }
}
