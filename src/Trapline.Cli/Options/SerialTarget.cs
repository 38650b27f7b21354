using Trapline.Core;

namespace Trapline.Cli.Options;

/// <summary>Where the first serial port goes.</summary>
internal enum SerialKind
{
    Stdio,
    File,
    Pty,
    None,
}

/// <param name="Kind">What kind of place.</param>
/// <param name="Path">The file's path, with <see cref="SerialKind.File"/>.</param>
internal readonly record struct SerialTarget(SerialKind Kind, string Path = "")
{
    public static SerialTarget Parse(string option, string text) => text switch
    {
        "stdio" => new SerialTarget(SerialKind.Stdio),
        "pty" => new SerialTarget(SerialKind.Pty),
        "none" => new SerialTarget(SerialKind.None),
        _ when text.StartsWith("file:", StringComparison.Ordinal) && text.Length > 5 => new SerialTarget(SerialKind.File, text[5..]),
        _ => throw new BadInputException($"{option} '{text}' is not known: use stdio, file:PATH, pty or none"),
    };
}
