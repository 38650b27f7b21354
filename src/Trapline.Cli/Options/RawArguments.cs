using System.Text;

namespace Trapline.Cli.Options;

/// <summary>The command line as the bytes that the kernel was given: .NET's strings would lose what is not UTF-8.</summary>
internal static class RawArguments
{
    /// <summary>The last <paramref name="arguments"/> of this process, byte for byte.</summary>
    public static IReadOnlyList<ReadOnlyMemory<byte>> Of(IReadOnlyList<string> arguments)
    {
        List<ReadOnlyMemory<byte>> decoded = [.. arguments.Select(a => new ReadOnlyMemory<byte>(Encoding.UTF8.GetBytes(a)))];
        if (!arguments.Any(a => a.Contains('\uFFFD')))
            return decoded;
        try
        {
            byte[] line = File.ReadAllBytes("/proc/self/cmdline");
            return Last(line, arguments.Count) ?? decoded;
        }
        catch (IOException)
        {
            return decoded;
        }
    }

    /// <summary>The last strings of a sequence that zero bytes end; null if there are not so many.</summary>
    internal static List<ReadOnlyMemory<byte>>? Last(byte[] line, int count)
    {
        List<ReadOnlyMemory<byte>> all = [];
        int start = 0;
        for (int i = 0; i < line.Length; i++)
        {
            if (line[i] != 0)
                continue;
            all.Add(line.AsMemory(start, i - start));
            start = i + 1;
        }
        return all.Count >= count ? all.GetRange(all.Count - count, count) : null;
    }
}
