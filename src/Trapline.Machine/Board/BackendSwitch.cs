using Trapline.Core;

namespace Trapline.Machine;

/// <summary>Stands between a back end, which is connected once, and the chip at its other end, which is a new one after each reset.</summary>
/// <remarks>Its lock is held while input is handed to the chip, so that none arrives at a chip that was unplugged.</remarks>
internal sealed class BackendSwitch : ICharacterBackend, ICharacterSink
{
    private readonly Lock _lock = new();
    private readonly ICharacterBackend _backend;
    private ICharacterSink? _chip;

    public BackendSwitch(ICharacterBackend backend)
    {
        _backend = backend;
        backend.Connect(this);
    }

    public event Action? RoomAvailable;

    public void Write(ReadOnlySpan<byte> data) => _backend.Write(data);

    /// <summary>The chip's side: a new chip takes the place of the one before.</summary>
    public void Connect(ICharacterSink sink)
    {
        lock (_lock)
            _chip = sink;
        sink.RoomAvailable += () => RoomAvailable?.Invoke();
        RoomAvailable?.Invoke();
    }

    /// <summary>Takes the chip away; input waits in the back end.</summary>
    public void Unplug()
    {
        lock (_lock)
            _chip = null;
    }

    public int Receive(ReadOnlySpan<byte> data)
    {
        lock (_lock)
            return _chip?.Receive(data) ?? 0;
    }
}
