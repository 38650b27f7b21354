namespace Trapline.Core;

/// <summary>The host end of a network card: a port of some network that carries Ethernet frames (without preamble and checksum).</summary>
public interface INetworkBackend : IDisposable
{
    /// <summary>Longest frame that the network carries, in bytes, with its 14-byte header.</summary>
    int MaximumFrame { get; }

    /// <summary>Sends one frame from a device's worker thread. Must not block for long: a frame for which there is no room is dropped, as a wire would.</summary>
    /// <returns>False if it was dropped.</returns>
    bool Send(ReadOnlySpan<byte> frame);

    /// <summary>Called once by the device: where frames for the guest go.</summary>
    void Connect(INetworkSink sink);
}

/// <summary>The device end of a network back end.</summary>
public interface INetworkSink
{
    /// <summary>Takes one frame at once, on the back end's thread.</summary>
    /// <returns>False if the guest has no buffer for it: the back end keeps it until <see cref="RoomAvailable"/>, or drops it.</returns>
    bool Receive(ReadOnlySpan<byte> frame);

    /// <summary>Raised when the guest has given buffers after a frame was refused.</summary>
    event Action? RoomAvailable;
}
