using Trapline.Core;

namespace Trapline.Network.Switch;

/// <summary>An Ethernet switch in this process: machines with a port each see one another, and nobody else.</summary>
/// <example>
/// <code>
/// VirtualSwitch lan = new();
/// NetworkDevice first = new("lan", lan.Connect(), MacAddress.Random()), second = new("lan", lan.Connect(), MacAddress.Random());
/// </code>
/// </example>
/// <remarks>
/// It learns who is behind which port. A frame goes from the sender's thread into the receivers' buffers at once; nothing is kept. For the one receiver of a
/// frame that has no room just now the sender waits a moment; a frame for many is lost to those without room.
/// </remarks>
public sealed class VirtualSwitch
{
    private const int MostPorts = 64, MostCards = 1_024;

    private readonly Lock _gate = new();
    private readonly AddressTable _cards = new(MostCards);
    private volatile SwitchPort[] _ports = [];

    /// <summary>A port of the switch, a back end for a network card. It is free again when it is disposed.</summary>
    /// <exception cref="BadInputException">All ports are taken.</exception>
    public INetworkBackend Connect() => Add();

    internal int Cards
    {
        get
        {
            lock (_gate)
                return _cards.Count;
        }
    }

    internal SwitchPort Add()
    {
        SwitchPort port = new(this);
        lock (_gate)
        {
            if (_ports.Length == MostPorts)
                throw new BadInputException($"network: a switch has {MostPorts} ports, and all are taken");
            _ports = [.. _ports, port];
        }
        return port;
    }

    internal void Remove(SwitchPort port)
    {
        lock (_gate)
        {
            _ports = [.. _ports.Where(p => p != port)];
            _cards.Forget(port);
        }
    }

    /// <summary>What every other port's guest takes undone.</summary>
    internal FrameOffloads AcceptedBeside(SwitchPort port)
    {
        FrameOffloads accepted = (FrameOffloads)~0;
        foreach (SwitchPort other in _ports)
        {
            if (other != port)
                accepted &= other.SinkAccepts;
        }
        return accepted;
    }

    internal bool Forward(SwitchPort from, ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        if (frame.Length < 2 * MacAddress.Length)
            return false;
        MacAddress to = MacAddress.Read(frame), sender = MacAddress.Read(frame[MacAddress.Length..]);
        SwitchPort? only = null;
        lock (_gate)
        {
            long now = Environment.TickCount64;
            if (sender.IsUnicast)
                _cards.Learn(sender, from, now);
            if (to.IsUnicast)
                only = _cards.Find(to, now);
        }
        if (only is not null)
            return only == from || only.Deliver(frame, offload, mayWait: true);
        bool delivered = false;
        foreach (SwitchPort port in _ports)
        {
            if (port != from)
                delivered |= port.Deliver(frame, offload, mayWait: false);
        }
        return delivered;
    }
}
