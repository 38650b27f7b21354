using Trapline.Core;

namespace Trapline.Network;

/// <summary>No network: the card is there, its cable is out.</summary>
public sealed class UnpluggedBackend : INetworkBackend
{
    public int Mtu => 1_500;

    public FrameOffloads Accepts => FrameOffloads.None;

    public bool Send(ReadOnlySpan<byte> frame, in FrameOffload offload) => false;

    public void Connect(INetworkSink sink) => sink.SetLink(false);

    public void Dispose() { }
}
