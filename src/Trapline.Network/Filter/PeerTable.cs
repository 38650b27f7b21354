namespace Trapline.Network.Filter;

/// <summary>Somebody who has spoken to a published port.</summary>
internal readonly record struct Peer(PacketKind Kind, bool IsIp6, UInt128 Address, ushort Port, ushort GuestPort);

/// <summary>Who has spoken to the guest's published ports, and may be answered. As many as it was made for; the longest silent goes first.</summary>
internal sealed class PeerTable(int capacity)
{
    private readonly Dictionary<Peer, LinkedListNode<Peer>> _peers = new(capacity);
    private readonly LinkedList<Peer> _byUse = new();

    public void Add(in Peer peer)
    {
        if (_peers.TryGetValue(peer, out LinkedListNode<Peer>? known))
        {
            if (known != _byUse.Last)
            {
                _byUse.Remove(known);
                _byUse.AddLast(known);
            }
            return;
        }
        if (_peers.Count == capacity)
        {
            known = _byUse.First!;
            _byUse.RemoveFirst();
            _peers.Remove(known.Value);
            known.Value = peer;
        }
        else
        {
            known = new LinkedListNode<Peer>(peer);
        }
        _byUse.AddLast(known);
        _peers[peer] = known;
    }

    public bool Contains(in Peer peer) => _peers.ContainsKey(peer);
}
