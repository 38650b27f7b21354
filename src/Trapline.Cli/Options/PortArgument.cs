using Trapline.Core;

namespace Trapline.Cli.Options;

/// <summary>`--port`: NAME=TARGET.</summary>
internal readonly record struct PortArgument(string Name, SerialTarget Target)
{
    private const int LongestName = 60;

    /// <exception cref="BadInputException">It makes no sense.</exception>
    public static PortArgument Parse(string option, string text)
    {
        int equals = text.IndexOf('=', StringComparison.Ordinal);
        string name = equals < 0 ? "" : text[..equals];
        if (name.Length is 0 or > LongestName || !name.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '-' or '_'))
            throw new BadInputException($"{option} '{text}' is no port: write NAME=file:PATH or NAME=pty, the name of letters, digits, '.', '-' and '_'");
        SerialTarget target = SerialTarget.Parse(option, text[(equals + 1)..]);
        return target.Kind is SerialKind.File or SerialKind.Pty ? new PortArgument(name, target)
            : throw new BadInputException($"{option} '{text}' cannot be used: use file:PATH or pty");
    }
}
