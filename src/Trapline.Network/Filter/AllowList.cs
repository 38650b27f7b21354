using System.Net;
using Trapline.Core;

namespace Trapline.Network.Filter;

/// <summary>All that a guest may reach. What is not in it is not reached.</summary>
public sealed class AllowList
{
    /// <summary>The word for an empty list.</summary>
    public const string Nothing = "none";

    private readonly string[] _texts;

    private AllowList(string[] texts, AllowRule[] rules) => (_texts, Parsed) = (texts, rules);

    /// <summary>The rules as they were written.</summary>
    public IReadOnlyList<string> Rules => _texts.Length > 0 ? _texts : [Nothing];

    internal AllowRule[] Parsed { get; }

    /// <param name="option">Begins the complaint.</param>
    /// <param name="texts">Rules, or the one word "none".</param>
    /// <exception cref="BadInputException">One of them makes no sense.</exception>
    public static AllowList Parse(string option, IReadOnlyList<string> texts)
    {
        if (texts is [Nothing])
            return new AllowList([], []);
        if (texts.Contains(Nothing))
            throw new BadInputException($"{option} '{Nothing}' and rules do not go together: leave one of them out");
        return new AllowList([.. texts], [.. texts.SelectMany(text => AllowRule.Parse(option, text))]);
    }

    /// <summary>Whether a guest may ask for the addresses of a name, given without its final dot and in lower case.</summary>
    internal bool MayResolve(ReadOnlySpan<char> name)
    {
        foreach (AllowRule rule in Parsed)
        {
            if (rule.Names(name))
                return true;
        }
        return false;
    }
}
