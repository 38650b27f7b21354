using System.Net;
using Trapline.Core;
using Trapline.Network.Filter;

namespace Trapline.Network;

/// <summary>What a card is connected to.</summary>
public enum NetworkKind
{
    /// <summary>Nothing: the cable is out.</summary>
    None,

    /// <summary>The host's network, by passt, without privileges.</summary>
    User,

    /// <summary>A tap device that is there already.</summary>
    Tap,

    /// <summary>A switch of this user's machines.</summary>
    Socket,
}

/// <summary>The text of <c>--net</c>: user, none, tap=NAME or socket=NAME, and what may follow with commas between.</summary>
/// <param name="Name">Of the tap device or switch; else empty.</param>
/// <param name="Address">Of the card; null for a random one.</param>
/// <param name="Guest4">ADDRESS/PREFIX that the default guest gives the card, where the network does not say.</param>
/// <param name="Allow">The only destinations that the guest reaches; null for all.</param>
public sealed record NetworkSpecification(NetworkKind Kind, string Name = "", MacAddress? Address = null, string? Guest4 = null, AllowList? Allow = null)
{
    /// <summary>Between rules of allow=, since a comma ends the word.</summary>
    private const char RuleSeparator = '+';

    private const int LongestTapName = 15;

    public static NetworkSpecification User { get; } = new(NetworkKind.User);

    public static NetworkSpecification None { get; } = new(NetworkKind.None);

    /// <param name="option">Begins the complaint.</param>
    /// <exception cref="BadInputException">It makes no sense.</exception>
    public static NetworkSpecification Parse(string option, string text)
    {
        string[] words = text.Split(',');
        NetworkSpecification specification = ParseKind(option, text, words[0]);
        foreach (string word in words.Skip(1))
        {
            int equals = word.IndexOf('=');
            (string key, string value) = equals < 0 ? (word, "") : (word[..equals], word[(equals + 1)..]);
            specification = key switch
            {
                "mac" => specification with { Address = ParseAddress(option, text, value) },
                "ip" when specification.Kind is NetworkKind.Tap or NetworkKind.Socket => specification with { Guest4 = ParsePrefix(option, text, value) },
                "allow" when specification.Kind == NetworkKind.User => specification with { Allow = AllowList.Parse(option, value.Split(RuleSeparator)) },
                _ => throw new BadInputException($"{option} '{text}': '{word}' is not known here: use mac=ADDRESS, with tap and socket ip=ADDRESS/PREFIX, with user allow=RULE+RULE"),
            };
        }
        return specification;
    }

    /// <summary>The text again, less the card's address: what a copy of the machine is connected to.</summary>
    public override string ToString()
    {
        string text = Kind switch
        {
            NetworkKind.Tap => "tap=" + Name,
            NetworkKind.Socket => "socket=" + Name,
            NetworkKind.User => "user",
            _ => "none",
        };
        return text + (Guest4 is null ? "" : ",ip=" + Guest4) + (Allow is null ? "" : ",allow=" + string.Join(RuleSeparator, Allow.Rules));
    }

    private static NetworkSpecification ParseKind(string option, string text, string word)
    {
        int equals = word.IndexOf('=');
        string kind = equals < 0 ? word : word[..equals], name = equals < 0 ? "" : word[(equals + 1)..];
        switch (kind)
        {
            case "user" or "none" when equals < 0:
                return kind == "user" ? User : None;
            case "tap" or "socket" when name.Length == 0:
                throw new BadInputException($"{option} '{text}' names no {(kind == "tap" ? "device: write tap=NAME, such as tap=tap0" : "switch: write socket=NAME, such as socket=lan")}");
            case "tap" when name.Length > LongestTapName || name.Contains('/') || name.Any(char.IsWhiteSpace):
                throw new BadInputException($"{option} '{text}': '{name}' cannot be the name of a device: at most {LongestTapName} characters, no slash");
            case "socket" when !name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_') || name.Length > 32:
                throw new BadInputException($"{option} '{text}': '{name}' cannot be the name of a switch: at most 32 letters, digits, - and _");
            case "tap" or "socket":
                return new NetworkSpecification(kind == "tap" ? NetworkKind.Tap : NetworkKind.Socket, name);
            default:
                throw new BadInputException($"{option} '{text}' is not known: use user, none, tap=NAME or socket=NAME");
        }
    }

    private static MacAddress ParseAddress(string option, string text, string value) =>
        MacAddress.TryParse(value, out MacAddress address) && address.IsUnicast
            ? address
            : throw new BadInputException($"{option} '{text}': '{value}' is no address of a card: write six bytes such as mac=52:54:00:12:34:56, the first one even");

    private static string ParsePrefix(string option, string text, string value) =>
        IPNetwork.TryParse(value, out _) || (value.Split('/') is [var address, var bits] && IPAddress.TryParse(address, out IPAddress? ip)
            && ip.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork && int.TryParse(bits, out int prefix) && prefix is > 0 and <= 32)
            ? value
            : throw new BadInputException($"{option} '{text}': '{value}' is no address with its prefix: write one such as ip=192.168.7.1/24");
}
