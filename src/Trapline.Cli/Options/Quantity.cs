using System.Globalization;
using Trapline.Core;
using Trapline.Machine;

namespace Trapline.Cli.Options;

/// <summary>Sizes and times as people write them.</summary>
internal static class Quantity
{
    private const ulong PageSize = 4096;
    private const ulong LargestMemory = 1ul << 39;

    /// <summary>A memory size: a number with K, M, G or T; a bare number counts mebibytes.</summary>
    public static ulong ParseMemory(string option, string text)
    {
        decimal bytes = ParseSize(option, text);
        if (bytes < 1 << 20)
            throw new BadInputException($"{option} '{text}' is too small: a machine needs at least 1M; Debian's kernel needs about 128M");
        if (bytes > LargestMemory)
            throw new BadInputException($"{option} '{text}' is too large: use at most 512G");
        return (ulong)bytes;
    }

    /// <summary>An amount of a machine's memory, perhaps none, written like a memory size.</summary>
    public static ulong ParseAmount(string option, string text) => (ulong)Math.Min(ParseSize(option, text), LargestMemory);

    /// <summary>A size for the translator's code cache, written like a memory size.</summary>
    public static ulong ParseCodeCache(string option, string text)
    {
        decimal bytes = ParseSize(option, text);
        if (bytes is < CpuSpecification.SmallestCodeCache or > CpuSpecification.LargestCodeCache)
            throw new BadInputException($"{option} '{text}' is out of range: use 1M to 1G");
        return (ulong)bytes;
    }

    /// <summary>How many of something, at least one.</summary>
    public static int ParseCount(string option, string text, int most)
    {
        if (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int count) || count < 1 || count > most)
            throw new BadInputException($"{option} '{text}' is not a number from 1 to {most}");
        return count;
    }

    private static decimal ParseSize(string option, string text)
    {
        string advice = "use a number with K, M, G or T, such as 512M";
        int shift = text.Length == 0 ? -1 : char.ToUpperInvariant(text[^1]) switch
        {
            'K' => 10,
            'M' => 20,
            'G' => 30,
            'T' => 40,
            >= '0' and <= '9' => 20,
            _ => -1,
        };
        string digits = text.Length > 0 && char.IsAsciiLetter(text[^1]) ? text[..^1] : text;
        if (shift < 0 || !decimal.TryParse(digits, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out decimal number))
            throw new BadInputException($"{option} '{text}' is not a size: {advice}");
        decimal bytes = decimal.MaxValue / (1ul << shift) > number ? number * (1ul << shift) : decimal.MaxValue;
        if (bytes >= PageSize && bytes < ulong.MaxValue && bytes % PageSize != 0)
            throw new BadInputException($"{option} '{text}' is not a multiple of 4K: {advice}");
        return bytes;
    }

    /// <summary>A time: a number of seconds, or one with ms, s, m or h.</summary>
    public static TimeSpan ParseTime(string option, string text)
    {
        (string suffix, double seconds)[] units = [("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("", 1)];
        (string suffix, double factor) = units.First(u => text.EndsWith(u.suffix, StringComparison.Ordinal));
        string digits = text[..^suffix.Length];
        if (!double.TryParse(digits, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double number)
            || number * factor is not (> 0 and < 1e9))
            throw new BadInputException($"{option} '{text}' is not a time: use seconds, or a number with ms, s, m or h, such as 90s");
        return TimeSpan.FromSeconds(number * factor);
    }
}
