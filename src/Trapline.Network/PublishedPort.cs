using System.Globalization;
using System.Net;
using Trapline.Core;

namespace Trapline.Network;

/// <summary>A port of the host that leads to one of the guest.</summary>
public sealed record PublishedPort(IPAddress HostAddress, int HostPort, int GuestPort, bool IsUdp = false)
{
    private const string Form = "write [HOST:]PORT:GUESTPORT[/udp], such as 8080:80 or 0.0.0.0:8080:80";

    /// <summary>Reads [HOST:]PORT:GUESTPORT[/tcp|/udp]; without HOST it is the host's loopback address.</summary>
    /// <param name="option">Begins the complaint.</param>
    /// <exception cref="BadInputException">It makes no sense.</exception>
    public static PublishedPort Parse(string option, string text)
    {
        string rest = text;
        bool udp = rest.EndsWith("/udp", StringComparison.Ordinal);
        if (udp || rest.EndsWith("/tcp", StringComparison.Ordinal))
            rest = rest[..^4];
        int guest = rest.LastIndexOf(':');
        int host = guest > 0 ? rest.LastIndexOf(':', guest - 1) : -1;
        if (guest <= 0)
            throw new BadInputException($"{option} '{text}' names one port only: {Form}");
        IPAddress address = IPAddress.Loopback;
        if (host >= 0)
        {
            string name = rest[..host].Trim('[', ']');
            if (!IPAddress.TryParse(name, out IPAddress? given))
                throw new BadInputException($"{option} '{text}': '{name}' is no address of this host: {Form}");
            address = given;
        }
        return new PublishedPort(address, Port(rest[(host + 1)..guest]), Port(rest[(guest + 1)..]), udp);

        int Port(string number) =>
            int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out int port) && port is > 0 and <= 65_535
                ? port
                : throw new BadInputException($"{option} '{text}': '{number}' is no port, 1 to 65535: {Form}");
    }

    /// <summary>The port of copy number n, from 0, of a machine: as many further on the host.</summary>
    /// <exception cref="BadInputException">There is no such port.</exception>
    public PublishedPort ForCopy(int number) => HostPort + number <= 65_535 ? this with { HostPort = HostPort + number }
        : throw new BadInputException($"port {HostPort} of the host and the {number} after it: there are only 65535");

    public override string ToString() => $"{new IPEndPoint(HostAddress, HostPort)}:{GuestPort}{(IsUdp ? "/udp" : "")}";
}
