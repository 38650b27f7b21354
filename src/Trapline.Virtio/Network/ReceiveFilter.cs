using System.Buffers.Binary;
using Trapline.Core;

namespace Trapline.Virtio.Network;

/// <summary>What a driver said it wants to receive.</summary>
/// <param name="Address">The card's address as the driver uses it.</param>
/// <param name="Modes">Bits of <see cref="ReceiveModes"/>.</param>
/// <param name="Addresses">Others that it listens to.</param>
/// <param name="Vlans">Virtual networks that it listens to.</param>
public sealed record ReceiveFilterState(string Address, int Modes, string[] Addresses, int[] Vlans);

/// <summary>Kinds of frames that are received, or not, whatever their address (virtio 1.2, 5.1.6.5.1).</summary>
[Flags]
internal enum ReceiveModes
{
    None = 0,
    Promiscuous = 1,
    AllMulticast = 2,
    AllUnicast = 4,
    NoMulticast = 8,
    NoUnicast = 16,
    NoBroadcast = 32,

    /// <summary>The driver listens to more addresses of this kind than there is room for.</summary>
    UnicastOverflow = 64,
    MulticastOverflow = 128,
}

/// <summary>Which frames are for the guest: by address and virtual network. The caller's lock guards it.</summary>
internal sealed class ReceiveFilter
{
    /// <summary>More addresses than this, and all of their kind are received.</summary>
    public const int MostAddresses = 64;

    public const int Vlans = 4096;

    private const int TypeAt = 12, TagAt = 14;
    private const ushort Vlan = 0x8100;

    private readonly ulong[] _addresses = new ulong[MostAddresses];
    private readonly ulong[] _vlans = new ulong[Vlans / 64];
    private int _addressCount;

    public MacAddress Address { get; set; }

    public ReceiveModes Modes { get; set; }

    /// <summary>The driver names the virtual networks it listens to; else all are received.</summary>
    public bool ByVlan { get; set; }

    /// <summary>As a driver finds it: everything is received until it says otherwise.</summary>
    public void Reset(MacAddress address)
    {
        (Address, Modes, ByVlan, _addressCount) = (address, ReceiveModes.Promiscuous, false, 0);
        Array.Clear(_vlans);
    }

    public void SetVlan(int vlan, bool listen)
    {
        ulong bit = 1ul << (vlan & 63);
        _vlans[vlan >> 6] = listen ? _vlans[vlan >> 6] | bit : _vlans[vlan >> 6] & ~bit;
    }

    public void ClearAddresses() => _addressCount = 0;

    /// <summary>False if there is no room.</summary>
    public bool TryAdd(MacAddress address)
    {
        if (_addressCount == MostAddresses)
            return false;
        _addresses[_addressCount++] = address.Value;
        return true;
    }

    /// <param name="frame">At least an Ethernet header.</param>
    public bool Passes(ReadOnlySpan<byte> frame)
    {
        if (ByVlan && BinaryPrimitives.ReadUInt16BigEndian(frame[TypeAt..]) == Vlan)
        {
            int vlan = frame.Length >= TagAt + 2 ? BinaryPrimitives.ReadUInt16BigEndian(frame[TagAt..]) & (Vlans - 1) : 0;
            if ((_vlans[vlan >> 6] >> (vlan & 63) & 1) == 0)
                return false;
        }
        if ((Modes & ReceiveModes.Promiscuous) != 0)
            return true;
        MacAddress to = MacAddress.Read(frame);
        if (to == MacAddress.Broadcast)
            return (Modes & ReceiveModes.NoBroadcast) == 0;
        (ReceiveModes all, ReceiveModes none) = to.IsMulticast
            ? (ReceiveModes.AllMulticast | ReceiveModes.MulticastOverflow, ReceiveModes.NoMulticast)
            : (ReceiveModes.AllUnicast | ReceiveModes.UnicastOverflow, ReceiveModes.NoUnicast);
        return (Modes & none) == 0 && ((Modes & all) != 0 || to == Address || _addresses.AsSpan(0, _addressCount).Contains(to.Value));
    }

    public ReceiveFilterState Save() => new(
        Address.ToString(), (int)Modes, [.. _addresses.Take(_addressCount).Select(a => new MacAddress(a).ToString())],
        [.. Enumerable.Range(0, Vlans).Where(v => (_vlans[v >> 6] >> (v & 63) & 1) != 0)]);

    /// <exception cref="ArgumentException">The state is malformed.</exception>
    public void Restore(ReceiveFilterState state)
    {
        Reset(Parse(state.Address));
        Modes = (ReceiveModes)state.Modes;
        foreach (string address in state.Addresses)
        {
            if (!TryAdd(Parse(address)))
                throw new ArgumentException($"more than {MostAddresses} addresses", nameof(state));
        }
        foreach (int vlan in state.Vlans)
        {
            if ((uint)vlan >= Vlans)
                throw new ArgumentException($"no virtual network {vlan}", nameof(state));
            SetVlan(vlan, true);
        }
    }

    private static MacAddress Parse(string text) => MacAddress.TryParse(text, out MacAddress address) ? address : throw new ArgumentException($"'{text}' is no address");
}
