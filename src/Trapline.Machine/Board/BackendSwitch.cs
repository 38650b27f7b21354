using Trapline.Core;

namespace Trapline.Machine;

/// <summary>Stands between a back end, which is connected once, and the chip at its other end, which is a new one after each reset.</summary>
/// <remarks>Its lock is held while input is handed to the chip, so that none arrives at a chip that was unplugged.</remarks>
internal sealed class BackendSwitch : ICharacterBackend, ICharacterSink
{
    private readonly Lock _lock = new();
    private readonly ICharacterBackend _backend;
    private ICharacterSink? _chip;
    private bool _held;

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

    /// <summary>The back end's own state, if its protocol with the guest has any.</summary>
    public ISavedDevice<BackendState>? SavedBackend => _backend as ISavedDevice<BackendState>;

    /// <summary>No input reaches the chip from here on; it waits in the back end.</summary>
    public void Hold()
    {
        lock (_lock)
            _held = true;
    }

    /// <summary>Lets input pass again.</summary>
    public void Release()
    {
        lock (_lock)
            _held = false;
        RoomAvailable?.Invoke();
    }

    public int Receive(ReadOnlySpan<byte> data)
    {
        lock (_lock)
            return _held ? 0 : _chip?.Receive(data) ?? 0;
    }
}
