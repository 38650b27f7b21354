using System.Globalization;

namespace Trapline.Bench;

/// <summary>One result line of a guest.</summary>
/// <param name="Name">The workload.</param>
/// <param name="Milliseconds">By the guest's clock.</param>
/// <param name="Checksum">Of what was computed; null where nothing is to be compared.</param>
internal sealed record Measurement(string Name, double Milliseconds, string? Checksum)
{
    private const double HashedBytes = 64 << 20;
    private const int Signatures = 50;

    /// <summary>Reads a line, whatever stands before the mark on it (a console has other writers); null if it is none.</summary>
    public static Measurement? TryParse(string line)
    {
        int start = line.IndexOf("trapline-bench ", StringComparison.Ordinal);
        if (start >= 0 && line[start..].Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
            is [_, string name, string time, string sum] && TryNumber(time, out double nanoseconds))
            return new Measurement(name, nanoseconds / 1e6, sum);
        start = line.IndexOf("trapline-speed ", StringComparison.Ordinal);
        if (start >= 0 && line[start..].Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
            is [_, string test, string report] && FromSpeed(report) is { } seconds)
            return new Measurement(test, seconds * 1e3, null);
        return null;
    }

    /// <summary>openssl's machine-readable lines: bytes a second for ciphers and digests, signatures and verifications a second for RSA.</summary>
    private static double? FromSpeed(string report) => report.Split(':') switch
    {
        ["+F", _, _, string rate] when TryNumber(rate, out double bytes) && bytes > 0 => HashedBytes / bytes,
        ["+F2", _, _, string sign, string verify] when TryNumber(sign, out double s) && TryNumber(verify, out double v) && s > 0 && v > 0 => Signatures / s + Signatures / v,
        _ => null,
    };

    private static bool TryNumber(string text, out double value) => double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out value);
}
