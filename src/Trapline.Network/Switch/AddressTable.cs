using Trapline.Core;

namespace Trapline.Network.Switch;

/// <summary>Which card is behind which port, as its frames told. As many cards as it was made for; one that is silent for some minutes is forgotten.</summary>
internal sealed class AddressTable(int capacity)
{
    /// <summary>IEEE 802.1D, table 7-5.</summary>
    public const long AgeMilliseconds = 300_000;

    private readonly Dictionary<MacAddress, (SwitchPort Port, long Seen)> _entries = new(capacity);

    public int Count => _entries.Count;

    /// <summary>A card has sent a frame. When the table is full of others that are not old, this one is not learned: frames for it go to all.</summary>
    public void Learn(MacAddress card, SwitchPort port, long now)
    {
        if (!_entries.ContainsKey(card) && _entries.Count >= capacity && !TryForgetOne(now))
            return;
        _entries[card] = (port, now);
    }

    /// <summary>Null if nobody knows.</summary>
    public SwitchPort? Find(MacAddress card, long now) =>
        _entries.TryGetValue(card, out (SwitchPort Port, long Seen) entry) && now - entry.Seen < AgeMilliseconds ? entry.Port : null;

    public void Forget(SwitchPort port)
    {
        foreach (MacAddress card in _entries.Where(e => e.Value.Port == port).Select(e => e.Key).ToArray())
            _entries.Remove(card);
    }

    private bool TryForgetOne(long now)
    {
        foreach ((MacAddress card, (SwitchPort _, long seen)) in _entries)
        {
            if (now - seen >= AgeMilliseconds)
                return _entries.Remove(card);
        }
        return false;
    }
}
