using Trapline.Core;

namespace Trapline.Virtio.Console;

/// <summary>One port of a console: what waits for the guest, and what the guest said of the port.</summary>
/// <remarks>Its lock is held while bytes are copied; back ends are called without it.</remarks>
internal sealed class ConsolePort(string name, ICharacterBackend backend, bool isConsole, Action arrived) : ICharacterSink
{
    public const int Capacity = 16 << 10;

    private readonly Lock _lock = new();
    private readonly byte[] _waiting = new byte[Capacity];
    private int _first, _count;
    private bool _refused;

    public string Name => name;

    /// <summary>Where the guest may have its console; else a port with a name.</summary>
    public bool IsConsole => isConsole;

    public ICharacterBackend Backend => backend;

    public bool GuestReady { get; set; }

    /// <summary>A program in the guest has the port open.</summary>
    public bool GuestOpen { get; set; }

    public event Action? RoomAvailable;

    public int Receive(ReadOnlySpan<byte> data)
    {
        int taken;
        lock (_lock)
        {
            taken = Math.Min(data.Length, Capacity - _count);
            for (int i = 0; i < taken; i++)
                _waiting[(_first + _count + i) % Capacity] = data[i];
            _count += taken;
            _refused |= taken < data.Length;
        }
        if (taken > 0)
            arrived();
        return taken;
    }

    public bool HasInput
    {
        get
        {
            lock (_lock)
                return _count > 0;
        }
    }

    /// <summary>Takes what waits, at most what fits.</summary>
    public int Take(Span<byte> destination)
    {
        int taken;
        bool tell;
        lock (_lock)
        {
            taken = Math.Min(destination.Length, _count);
            for (int i = 0; i < taken; i++)
                destination[i] = _waiting[(_first + i) % Capacity];
            _first = (_first + taken) % Capacity;
            _count -= taken;
            tell = _refused && taken > 0;
            _refused &= !tell;
        }
        if (tell)
            RoomAvailable?.Invoke();
        return taken;
    }

    public byte[] Save()
    {
        lock (_lock)
            return [.. Enumerable.Range(0, _count).Select(i => _waiting[(_first + i) % Capacity])];
    }

    public void Restore(byte[] waiting)
    {
        lock (_lock)
        {
            _first = 0;
            _count = Math.Min(waiting.Length, Capacity);
            waiting.AsSpan(0, _count).CopyTo(_waiting);
        }
    }
}
