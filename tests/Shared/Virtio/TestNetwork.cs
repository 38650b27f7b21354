using Trapline.Core;

namespace Trapline.Virtio.Tests;

/// <summary>A network back end that keeps what a card sends, or sends it straight back.</summary>
internal sealed class TestNetwork(FrameOffloads accepts = FrameOffloads.None, bool loopsBack = false, int mtu = 1500) : INetworkBackend
{
    private readonly List<(byte[] Frame, FrameOffload Offload)> _sent = [];

    public int Mtu => mtu;

    public FrameOffloads Accepts => accepts;

    public INetworkSink Sink { get; private set; } = null!;

    /// <summary>Allocations of the worker's thread at each frame, in bytes.</summary>
    public List<long> Allocated { get; } = new(10_000);

    public int Count
    {
        get
        {
            lock (_sent)
                return _sent.Count;
        }
    }

    public bool Send(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        if (loopsBack)
        {
            if (Allocated.Count < Allocated.Capacity)
                Allocated.Add(GC.GetAllocatedBytesForCurrentThread());
            return Sink.Receive(frame, offload);
        }
        lock (_sent)
            _sent.Add((frame.ToArray(), offload));
        return true;
    }

    /// <summary>The frames that were sent since the last call.</summary>
    public (byte[] Frame, FrameOffload Offload)[] Take()
    {
        lock (_sent)
        {
            (byte[], FrameOffload)[] all = [.. _sent];
            _sent.Clear();
            return all;
        }
    }

    public void Connect(INetworkSink sink) => Sink = sink;

    public void Dispose() { }
}
