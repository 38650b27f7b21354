using Trapline.Core;

namespace Trapline.Machine;

/// <summary>Where on the buses devices with doorbells are, for a keeper that may come later.</summary>
/// <remarks>Its lock is behind those of functions and address spaces.</remarks>
internal sealed class DoorbellMap
{
    private readonly Lock _lock = new();
    private readonly List<(bool IsPort, ulong Start, IDoorbellDevice Device)> _placed = [];
    private IDoorbellKeeper? _keeper;

    /// <summary>From now on a keeper answers the doorbells. One only.</summary>
    public void Attach(IDoorbellKeeper keeper)
    {
        lock (_lock)
        {
            _keeper = keeper;
            foreach ((bool isPort, ulong start, IDoorbellDevice device) in _placed)
                Hang(keeper, isPort, start, device);
        }
    }

    /// <summary>A device is in its place; one without doorbells is none of this map's affair.</summary>
    public void Placed(bool isPort, ulong start, object device)
    {
        if (device is not IDoorbellDevice ringing)
            return;
        lock (_lock)
        {
            _placed.Add((isPort, start, ringing));
            if (_keeper != null)
                Hang(_keeper, isPort, start, ringing);
        }
    }

    /// <summary>A device is no longer there.</summary>
    public void Gone(bool isPort, ulong start, object device)
    {
        lock (_lock)
        {
            if (device is not IDoorbellDevice ringing || !_placed.Remove((isPort, start, ringing)) || _keeper == null)
                return;
            foreach (Doorbell bell in ringing.Doorbells)
                _keeper.Remove(isPort, start + bell.Offset, bell);
        }
    }

    private static void Hang(IDoorbellKeeper keeper, bool isPort, ulong start, IDoorbellDevice device)
    {
        foreach (Doorbell bell in device.Doorbells)
            keeper.Add(isPort, start + bell.Offset, bell);
    }
}
