using Trapline.Core;

namespace Trapline.Machine;

/// <summary>The machine's paravirtual (virtio) devices. The caller owns the back ends and disposes them after the machine.</summary>
public sealed record DeviceSpecification
{
    /// <summary>In the order in which the guest finds them.</summary>
    public IReadOnlyList<DiskDevice> Disks { get; init; } = [];

    /// <summary>Network cards, in the order in which the guest finds them.</summary>
    public IReadOnlyList<NetworkDevice> Networks { get; init; } = [];

    /// <summary>Folders of the host, each with a tag of its own.</summary>
    public IReadOnlyList<ShareDevice> Shares { get; init; } = [];

    /// <summary>The host's random numbers.</summary>
    public bool Entropy { get; init; }

    /// <summary>Memory that the guest has no use for goes back to the host.</summary>
    public bool Balloon { get; init; }

    /// <summary>Sockets between guest and host; null for none.</summary>
    public SocketDevice? Socket { get; init; }

    /// <summary>
    /// The devices of another machine that goes on as this one: it cannot listen at the same path, and its network cards have addresses of their own
    /// and the cable out. It shares the same folders.
    /// </summary>
    public DeviceSpecification ForCopy() => this with
    {
        Socket = Socket is { } socket ? socket with { Path = null } : null,
        Networks = [.. Networks.Select(n => n with { Backend = new AbsentNetwork(), Address = MacAddress.Random() })],
    };

    /// <summary>Registers in memory, told in the DSDT, instead of functions on the PCI bus.</summary>
    public bool WithoutPci { get; init; }
}

/// <summary>A disk of the machine.</summary>
/// <param name="Name">For people: the file.</param>
/// <param name="Serial">What the guest is told to tell its disks apart: at most 20 ASCII characters.</param>
public sealed record DiskDevice(string Name, IDiskBackend Backend, string Serial = "");

/// <summary>A network card of the machine.</summary>
/// <param name="Name">For people: what it is connected to.</param>
/// <param name="Guest">What the default guest is told of the network, so that it need not ask; null leaves the card without addresses.</param>
public sealed record NetworkDevice(string Name, INetworkBackend Backend, MacAddress Address, GuestAddresses? Guest = null)
{
    /// <summary>Makes the same connection once more, for a copy of the machine, whose own it is; null if there can be only one.</summary>
    /// <remarks>It is given the ports of the host that lead to the copy, as <c>trapline run --publish</c> has them: none unless <see cref="Publishes"/>.</remarks>
    public Func<IReadOnlyList<string>, INetworkBackend>? ConnectCopy { get; init; }

    /// <summary>Ports of the host can lead to the guest by this network.</summary>
    public bool Publishes { get; init; }
}

/// <summary>The addresses of a guest's network card.</summary>
/// <param name="Ip4">ADDRESS/PREFIX; null for none.</param>
/// <param name="Gateway4">Where everything goes that is not in the prefix; null for nowhere.</param>
/// <param name="NameServer">Null for none.</param>
public sealed record GuestAddresses(string? Ip4, string? Gateway4 = null, string? NameServer = null, string? Ip6 = null, string? Gateway6 = null);

/// <summary>Sockets between guest and host (vsock).</summary>
/// <param name="Path">
/// A Unix socket that the machine makes: a program that connects to it and writes "CONNECT PORT" and a line feed reaches that port of the guest; the guest
/// reaches port N of the host by the Unix socket PATH_N. Null for neither.
/// </param>
/// <param name="Cid">The guest's context identifier, from 3.</param>
public sealed record SocketDevice(string? Path, uint Cid = 3);
