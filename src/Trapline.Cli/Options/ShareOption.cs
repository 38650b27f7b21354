using System.CommandLine;
using Trapline.Core;
using Trapline.Machine;

namespace Trapline.Cli.Options;

/// <summary>`--share`, which may be given several times: DIR:TAG[,ro].</summary>
internal static class ShareOption
{
    private const string Name = "--share";

    public static Option<string[]> Make(string description) =>
        new(Name) { Description = description, HelpName = "DIR:TAG[,ro]", Arity = ArgumentArity.OneOrMore, AllowMultipleArgumentsPerToken = false };

    /// <exception cref="BadInputException">A value makes no sense.</exception>
    public static IReadOnlyList<ShareDevice> Read(ParseResult result, Option<string[]> option)
    {
        List<ShareDevice> shares = [];
        foreach (string text in result.GetValue(option) ?? [])
        {
            ShareDevice share = Parse(text);
            if (shares.Any(s => s.Tag == share.Tag))
                throw new BadInputException($"{Name} '{text}': the tag '{share.Tag}' is given a second time: give each share a tag of its own");
            shares.Add(share);
        }
        return shares;
    }

    /// <summary>The folder may have colons and commas in its name; the tag may not.</summary>
    internal static ShareDevice Parse(string text)
    {
        int colon = text.LastIndexOf(':');
        if (colon <= 0)
            throw new BadInputException($"{Name} '{text}' names no {(colon < 0 ? "tag" : "folder")}: write DIR:TAG[,ro], such as .:src");
        string[] parts = text[(colon + 1)..].Split(',');
        if (ShareDevice.Complaint(parts[0]) is { } complaint)
            throw new BadInputException($"{Name} '{text}': the tag '{parts[0]}' {complaint}");
        if (parts is not ([_] or [_, "ro"]))
            throw new BadInputException($"{Name} '{text}': '{string.Join(',', parts[1..])}' is not known: write DIR:TAG or DIR:TAG,ro");
        return new ShareDevice(parts[0], Path.GetFullPath(text[..colon]), ReadOnly: parts.Length == 2);
    }

    /// <summary>The shares of a saved machine, with the folders that the user gave.</summary>
    /// <exception cref="BadInputException">The machine has no such share.</exception>
    public static IReadOnlyList<ShareDevice> ForSaved(IReadOnlyList<ShareDevice> given, IReadOnlyList<ShareDevice> saved) =>
        given.FirstOrDefault(g => saved.All(s => s.Tag != g.Tag)) is { } strange
            ? throw new BadInputException($"{Name} '{strange.Folder}:{strange.Tag}': the saved machine has no share '{strange.Tag}', {(saved.Count == 0 ? "nor any other" : "only " + string.Join(", ", saved.Select(s => s.Tag)))}")
            : [.. saved.Select(s => given.FirstOrDefault(g => g.Tag == s.Tag) ?? s)];
}
