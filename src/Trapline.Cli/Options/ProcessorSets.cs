using System.Globalization;
using Trapline.Core;
using Trapline.Machine;

namespace Trapline.Cli.Options;

/// <summary>Sets of host processors as people write them: 0-1,3 and, for several vCPUs, 0:1.</summary>
internal static class ProcessorSets
{
    /// <exception cref="BadInputException">The text names no processors.</exception>
    public static IReadOnlyList<IReadOnlyList<int>> Parse(string option, string text) =>
        [.. text.Split(':').Select(set => ParseSet(set) ?? throw new BadInputException(
            $"{option} '{text}' names no host processors: write numbers and ranges such as 0-1,3, and a colon between the sets of several vCPUs"))];

    private static List<int>? ParseSet(string text)
    {
        List<int> set = [];
        foreach (string part in text.Split(','))
        {
            string[] ends = part.Split('-');
            if (ends.Length > 2 || !TryNumber(ends[0], out int first) || !TryNumber(ends[^1], out int last) || last < first)
                return null;
            set.AddRange(Enumerable.Range(first, last - first + 1));
        }
        return set;
    }

    private static bool TryNumber(string text, out int number) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number) && number < CpuSpecification.MostHostProcessors;
}
