using Trapline.Core;
using Trapline.Machine;

namespace Trapline.Cli.Options;

/// <summary>Reads KINDS[:FILE].</summary>
/// <param name="Path">Where the trace goes; null for stderr.</param>
internal readonly record struct TraceArgument(TraceKinds Kinds, string? Path)
{
    public static IEnumerable<string> Names { get; } =
        Enum.GetValues<TraceKinds>().Where(k => k != TraceKinds.None).Select(k => k.ToString().ToLowerInvariant());

    public static TraceArgument Parse(string option, string text)
    {
        string[] parts = text.Split(':', 2);
        TraceKinds kinds = TraceKinds.None;
        foreach (string name in parts[0].Split(','))
        {
            if (!Names.Contains(name))
                throw new BadInputException($"{option} '{text}': '{name}' is not a kind of event; use {string.Join(", ", Names)}, with commas between them");
            kinds |= Enum.Parse<TraceKinds>(name, ignoreCase: true);
        }
        if (parts is [_, ""])
            throw new BadInputException($"{option} '{text}' names no file after the colon: write KINDS:FILE, or KINDS alone for stderr");
        return new TraceArgument(kinds, parts.Length == 2 ? parts[1] : null);
    }
}
