using Trapline.Core;
using Trapline.Host;

namespace Trapline.Network;

/// <summary>A card at the near end of a <see cref="FrameLink"/>: frames for which it had no room are tried again when it says that it has.</summary>
/// <param name="socket">Becomes this object's own.</param>
/// <param name="lost">Called if the far end closes.</param>
internal sealed class CardLink(StreamSocket socket, Action lost) : IDisposable
{
    private readonly FrameLink _link = new(socket, lost);
    private volatile INetworkSink? _card;

    /// <summary>Null until <see cref="Connect"/>.</summary>
    public INetworkSink? Card => _card;

    public bool Send(ReadOnlySpan<byte> frame)
    {
        Span<byte> head = stackalloc byte[FrameLink.Prefix];
        return _link.Send(head, frame);
    }

    /// <summary>Frames go to this card from now on.</summary>
    /// <param name="name">Of the thread that receives.</param>
    /// <param name="receive">Gives a frame to <see cref="Card"/>; false if it has no room.</param>
    public void Connect(INetworkSink card, string name, RecordHandler receive)
    {
        INetworkSink? before = _card;
        before?.RoomAvailable -= _link.Retry;
        card.RoomAvailable += _link.Retry;
        _card = card;
        if (before is null)
            _link.Start(name, receive);
        _link.Retry();
    }

    /// <summary>Waits until the far end has sent something.</summary>
    public bool WaitForData(int milliseconds) => _link.WaitForData(milliseconds);

    public void Dispose()
    {
        _card?.RoomAvailable -= _link.Retry;
        _link.Dispose();
    }
}
