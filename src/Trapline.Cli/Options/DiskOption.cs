using System.CommandLine;
using Trapline.Core;
using Trapline.Storage;

namespace Trapline.Cli.Options;

/// <summary>`--disk`, which may be given several times.</summary>
internal static class DiskOption
{
    private const string Name = "--disk";

    public static Option<string[]> Make(string description) =>
        new(Name) { Description = description, HelpName = "FILE", Arity = ArgumentArity.OneOrMore, AllowMultipleArgumentsPerToken = false };

    /// <exception cref="BadInputException">A value makes no sense.</exception>
    public static IReadOnlyList<DiskSpecification> Read(ParseResult result, Option<string[]> option) =>
        [.. (result.GetValue(option) ?? []).Select(text => DiskSpecification.Parse(Name, text))];
}
