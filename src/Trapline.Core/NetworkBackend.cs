namespace Trapline.Core;

/// <summary>The host end of a network card: a port of some network that carries Ethernet frames (without preamble and checksum).</summary>
public interface INetworkBackend : IDisposable
{
    /// <summary>Largest packet that the network carries, in bytes without the 14-byte Ethernet header: 1500, or up to 65520 where a link allows it.</summary>
    int Mtu { get; }

    /// <summary>What may be left undone in a frame given to <see cref="Send"/>. The device does the rest.</summary>
    FrameOffloads Accepts { get; }

    /// <summary>Sends one frame from a device's worker thread. Must not block for long: a frame for which there is no room is dropped, as a wire would.</summary>
    /// <returns>False if it was dropped.</returns>
    bool Send(ReadOnlySpan<byte> frame, in FrameOffload offload);

    /// <summary>
    /// Where frames for the guest go, before the first one. A machine's reset makes another device, which takes the place of the one before: frames that
    /// wait go to it.
    /// </summary>
    void Connect(INetworkSink sink);
}

/// <summary>The device end of a network back end.</summary>
public interface INetworkSink
{
    /// <summary>What may be left undone in a frame given to <see cref="Receive"/>: what the guest's driver agreed to. May change when the driver starts anew.</summary>
    FrameOffloads Accepts { get; }

    /// <summary>Takes one frame at once. From any thread, several at a time. What must not be undone and is, is dropped, as are frames while no driver listens.</summary>
    /// <returns>False if the guest has no buffer for it: the back end keeps it until <see cref="RoomAvailable"/>, or drops it.</returns>
    bool Receive(ReadOnlySpan<byte> frame, in FrameOffload offload);

    /// <summary>Raised, on a device's worker thread, when the guest has given buffers after a frame was refused.</summary>
    event Action? RoomAvailable;

    /// <summary>The cable is in, as it is at first, or out. From any thread.</summary>
    void SetLink(bool isUp);
}

/// <summary>Work on a frame that its sender may leave to somebody nearer the wire.</summary>
[Flags]
public enum FrameOffloads
{
    None = 0,

    /// <summary>The TCP or UDP checksum is to be filled in.</summary>
    Checksum = 1,

    /// <summary>TCP over IPv4 longer than the link's MTU is to be cut.</summary>
    TcpSegments4 = 2,

    /// <summary>TCP over IPv6 longer than the link's MTU is to be cut.</summary>
    TcpSegments6 = 4,

    /// <summary>The checksum is known to be right and need not be looked at.</summary>
    ChecksumIsValid = 8,
}

/// <summary>What is still to be done to one frame.</summary>
/// <param name="Undone">Nothing, or what <see cref="FrameOffloads"/> names; at most one kind of segments.</param>
/// <param name="ChecksumStart">Where the sum begins, in bytes from the frame's start; the sum goes on to the end.</param>
/// <param name="ChecksumOffset">Where the sum goes, in bytes from <paramref name="ChecksumStart"/>.</param>
/// <param name="SegmentSize">TCP payload of each segment, in bytes.</param>
/// <param name="HeaderLength">Bytes of headers before the payload, if segments are to be cut.</param>
public readonly record struct FrameOffload(
    FrameOffloads Undone, ushort ChecksumStart = 0, ushort ChecksumOffset = 0, ushort SegmentSize = 0, ushort HeaderLength = 0);
