namespace Trapline.Network.Filter;

/// <summary>Addresses that the name server gave for names that are allowed, each with the rule that allows it. As many as it was made for, the oldest goes first.</summary>
/// <remarks>An address stays as long as the answer says and for a while after its last use, so that a connection does not end with the name's time.</remarks>
internal sealed class LearnedAddresses(int capacity)
{
    /// <summary>An answer may be good for a second; who asked needs some more to connect.</summary>
    public const long LeastMilliseconds = 600_000;

    private const long MostSeconds = 86_400;

    private readonly Dictionary<(bool IsIp6, UInt128 Address, int Rule), long> _until = new(capacity);

    public int Count => _until.Count;

    /// <param name="rule">Its number in the list.</param>
    public void Add(in DnsAddress address, int rule, long now)
    {
        long until = now + Math.Max(Math.Min(address.Seconds, MostSeconds) * 1_000, LeastMilliseconds);
        var key = (address.IsIp6, address.Address, rule);
        if (_until.TryGetValue(key, out long before))
        {
            _until[key] = Math.Max(before, until);
            return;
        }
        if (_until.Count == capacity)
            _until.Remove(_until.MinBy(entry => entry.Value).Key);
        _until[key] = until;
    }

    /// <summary>Whether the address is known for this rule; it is kept for longer then.</summary>
    public bool Use(bool isIp6, UInt128 address, int rule, long now)
    {
        var key = (isIp6, address, rule);
        if (!_until.TryGetValue(key, out long until))
            return false;
        if (until < now)
        {
            _until.Remove(key);
            return false;
        }
        if (until < now + (LeastMilliseconds / 2))
            _until[key] = now + LeastMilliseconds;
        return true;
    }
}
