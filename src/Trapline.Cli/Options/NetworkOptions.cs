using System.CommandLine;
using Trapline.Core;
using Trapline.Network;
using Trapline.Network.Filter;

namespace Trapline.Cli.Options;

/// <summary>What the user said of networks.</summary>
/// <param name="Cards">Null if the user named none.</param>
internal sealed record NetworkSettings(IReadOnlyList<NetworkSpecification>? Cards, IReadOnlyList<PublishedPort> Published)
{
    public static NetworkSettings Default { get; } = new(null, []);
}

/// <summary>`--net`, `--publish` and `--allow-net`.</summary>
internal sealed class NetworkOptions
{
    private const string NetName = "--net", PublishName = "--publish", AllowName = "--allow-net";

    private readonly Option<string[]> _net;
    private readonly Option<string[]> _publish = Many(PublishName, "[HOST:]PORT:GUESTPORT[/udp]", "Lead a port of this host to one of the guest's; HOST is 127.0.0.1 unless given: only this host reaches it");
    private readonly Option<string[]>? _allow;

    /// <param name="description">Of --net.</param>
    /// <param name="withAllow">There is --allow-net.</param>
    public NetworkOptions(string description, bool withAllow)
    {
        _net = Many(NetName, "KIND[,mac=ADDRESS]", description);
        _net.CompletionSources.Add("user", "none", "tap=", "socket=");
        if (withAllow)
            _allow = Many(AllowName, "HOST:PORT[,...]", "The guest reaches only these, by TCP, UDP and DNS: a name, *.DOMAIN, an address or ADDRESS/PREFIX, gateway (this host) or *, and a port or *; none for nothing");
    }

    public IEnumerable<Option> All => _allow is null ? [_net, _publish] : [_net, _publish, _allow];

    /// <exception cref="BadInputException">A value makes no sense, or two do not go together.</exception>
    public NetworkSettings Read(ParseResult result)
    {
        NetworkSpecification[] cards = [.. (result.GetValue(_net) ?? []).Select(text => NetworkSpecification.Parse(NetName, text))];
        PublishedPort[] published = [.. (result.GetValue(_publish) ?? []).Select(text => PublishedPort.Parse(PublishName, text))];
        string[] rules = [.. (_allow is null ? null : result.GetValue(_allow) ?? [])?.SelectMany(text => text.Split(',')) ?? []];
        if (cards.Length > 1 && cards.Any(c => c.Kind == NetworkKind.None))
            throw new BadInputException($"{NetName} 'none' and another {NetName} do not go together: leave one of them out");
        if (published.Length > 0 && cards.Length > 0 && cards.Count(c => c.Kind == NetworkKind.User) != 1)
            throw new BadInputException($"{PublishName} '{result.GetValue(_publish)![0]}' needs one network of the kind user: give {NetName} user");
        if (rules.Length > 0)
        {
            AllowList list = AllowList.Parse(AllowName, rules);
            if (cards.Length == 0)
                cards = [NetworkSpecification.User];
            if (cards.All(c => c.Kind != NetworkKind.User))
                throw new BadInputException($"{AllowName} '{rules[0]}' needs a network of the kind user: give {NetName} user");
            if (cards.FirstOrDefault(c => c.Kind is NetworkKind.Tap or NetworkKind.Socket) is { } open)
                throw new BadInputException($"{AllowName} '{rules[0]}' says nothing of {NetName} '{open}', which stays open: leave one of them out");
            cards = [.. cards.Select(c => c.Kind == NetworkKind.User && c.Allow is null ? c with { Allow = list } : c)];
        }
        if (published.Length > 0 && cards.Length == 0)
            cards = [NetworkSpecification.User];
        return new NetworkSettings(cards.Length == 0 ? null : cards, published);
    }

    private static Option<string[]> Many(string name, string value, string description) =>
        new(name) { Description = description, HelpName = value, Arity = ArgumentArity.OneOrMore, AllowMultipleArgumentsPerToken = false };
}
