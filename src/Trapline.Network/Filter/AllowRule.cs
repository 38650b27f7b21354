using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Trapline.Core;

namespace Trapline.Network.Filter;

/// <summary>A destination that a guest may reach: an address, a network, a name or everything; and a port of it, or all.</summary>
/// <param name="Name">In lower case; null if the rule is about addresses.</param>
/// <param name="Network">Null if the rule is about a name, which stands for the addresses that the name server gives for it.</param>
/// <param name="Port">Null: every port.</param>
public sealed record AllowRule(string? Name, IPNetwork? Network, int? Port)
{
    /// <summary>The host itself, as the guest sees it.</summary>
    public const string Gateway = "gateway";

    private const string Form = "write HOST:PORT, where HOST is a name, *.DOMAIN, an address, ADDRESS/PREFIX, [IPv6], gateway or *, and PORT a number or *";

    private const int LongestName = 253;

    /// <param name="option">Begins the complaint.</param>
    /// <exception cref="BadInputException">It makes no sense.</exception>
    public static IEnumerable<AllowRule> Parse(string option, string text)
    {
        int colon = text.LastIndexOf(':');
        if (colon <= 0 || text.EndsWith(']'))
            throw new BadInputException($"{option} '{text}' has no port: {Form}");
        string host = text[..colon], number = text[(colon + 1)..];
        int? port = null;
        if (number != "*")
        {
            port = int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out int one) && one is > 0 and <= 65_535
                ? one
                : throw new BadInputException($"{option} '{text}': '{number}' is no port: {Form}");
        }
        if (host == "*")
            return [new AllowRule(null, new IPNetwork(IPAddress.Any, 0), port), new AllowRule(null, new IPNetwork(IPAddress.IPv6Any, 0), port), new AllowRule("*", null, port)];
        bool bracketed = host.StartsWith('[');
        string bare = bracketed ? host.Replace("[", "").Replace("]", "") : host;
        if (ParseNetwork(bare) is { } network && (network.BaseAddress.AddressFamily == AddressFamily.InterNetwork || bracketed))
            return [new AllowRule(null, network, port)];
        if (bracketed || !IsName(host))
            throw new BadInputException($"{option} '{text}': '{host}' is no host: {Form}");
        return [new AllowRule(host.ToLowerInvariant(), null, port)];
    }

    /// <summary>The text of the rule.</summary>
    public override string ToString()
    {
        string host = Name ?? (Network is { } n ? (n.BaseAddress.AddressFamily == AddressFamily.InterNetworkV6 ? $"[{n}]" : n.ToString()) : "*");
        return $"{host}:{Port?.ToString(CultureInfo.InvariantCulture) ?? "*"}";
    }

    /// <summary>The rule is about this name, given without its final dot and in lower case.</summary>
    internal bool Names(ReadOnlySpan<char> name) =>
        Name is { } own && (own == "*" || name.SequenceEqual(own) || (own.StartsWith("*.", StringComparison.Ordinal) && name.EndsWith(own.AsSpan(1)) && name.Length >= own.Length));

    private static IPNetwork? ParseNetwork(string text)
    {
        if (IPNetwork.TryParse(text, out IPNetwork network))
            return network;
        if (!IPAddress.TryParse(text, out IPAddress? address))
            return null;
        // "1" and "0x7f.1" are addresses to some programs: only the usual form counts.
        if (address.AddressFamily == AddressFamily.InterNetwork && text.Count(c => c == '.') != 3)
            return null;
        return new IPNetwork(address, address.AddressFamily == AddressFamily.InterNetwork ? 32 : 128);
    }

    private static bool IsName(string text)
    {
        string name = text.StartsWith("*.", StringComparison.Ordinal) ? text[2..] : text;
        return name.Length is > 0 and <= LongestName && !name.Split('.').Any(label => label.Length is 0 or > 63)
            && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.') && !name.All(c => char.IsAsciiDigit(c) || c == '.');
    }
}
