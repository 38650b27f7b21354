using Trapline.Core;
using Trapline.Machine;

namespace Trapline.Cli.Options;

/// <summary>Reads MODEL[,+feature,-feature].</summary>
internal static class CpuArgument
{
    public static CpuSpecification Parse(string option, string text)
    {
        string[] parts = text.Split(',');
        List<FeatureChange> changes = [];
        foreach (string part in parts.Skip(1))
        {
            if (part.Length < 2 || part[0] is not ('+' or '-'))
                throw new BadInputException($"{option} '{text}': '{part}' is not a change; write +FEATURE or -FEATURE, such as max,-avx2");
            changes.Add(new FeatureChange(part[1..].ToLowerInvariant(), part[0] == '+'));
        }
        if (parts[0].Length == 0 || parts[0][0] is '+' or '-')
            throw new BadInputException($"{option} '{text}' does not begin with a model: use one, such as max");
        return new CpuSpecification { Model = parts[0], Changes = changes };
    }
}
