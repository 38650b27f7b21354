using Trapline.Core;

namespace Trapline.Machine;

/// <summary>In the place of a network that a saved machine or a copy has not been given: the cable is out.</summary>
internal sealed class AbsentNetwork : INetworkBackend
{
    public int Mtu => 1500;

    public FrameOffloads Accepts => FrameOffloads.None;

    public bool Send(ReadOnlySpan<byte> frame, in FrameOffload offload) => false;

    public void Connect(INetworkSink sink) => sink.SetLink(false);

    public void Dispose() { }
}
