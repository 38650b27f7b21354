namespace Trapline.Core;

/// <summary>The host end of a character device (a terminal, a file, a pty, a pipe).</summary>
public interface ICharacterBackend
{
    /// <summary>Takes what the guest sent. Must not block the vCPU for long; may buffer.</summary>
    void Write(ReadOnlySpan<byte> data);

    /// <summary>Called once by the device: where the back end delivers input.</summary>
    void Connect(ICharacterSink sink);
}

/// <summary>State of a back end whose protocol with the guest has some. Such a back end is an <see cref="ISavedDevice{TState}"/> of this.</summary>
/// <param name="Protocol">Which protocol; a back end of another one starts afresh.</param>
[SavedState("character-backend", 1)]
public sealed record BackendState(string Protocol, byte[] Content);

/// <summary>The device end of a character back end: takes input when it has room.</summary>
public interface ICharacterSink
{
    /// <summary>Accepts as many bytes as fit and returns how many; the back end offers the rest again after <see cref="RoomAvailable"/>.</summary>
    int Receive(ReadOnlySpan<byte> data);

    /// <summary>Raised (on a vCPU thread) when the device can take more after it refused some.</summary>
    event Action? RoomAvailable;
}

/// <summary>A back end that swallows output and never sends input.</summary>
public sealed class NullCharacterBackend : ICharacterBackend
{
    public static NullCharacterBackend Instance { get; } = new();
    public void Write(ReadOnlySpan<byte> data) { }
    public void Connect(ICharacterSink sink) { }
}
