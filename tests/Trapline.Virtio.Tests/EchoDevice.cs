using Trapline.Memory;
using Trapline.Virtio.Queues;

namespace Trapline.Virtio.Tests;

/// <summary>A device that copies what a request has to read into what it has to write: enough to see queues work.</summary>
internal sealed class EchoDevice(GuestMemory memory, int workers = 1) : VirtioDevice("echo", VirtioTypes.Entropy, memory, [16, 16], workers)
{
    private readonly DescriptorChain[] _chains = [.. Enumerable.Range(0, workers).Select(_ => new DescriptorChain(memory, 16))];

    /// <summary>A worker stands here, when a test wants one to be busy.</summary>
    public ManualResetEventSlim Door { get; } = new(initialState: true);

    public CountdownEvent? AtDoor { get; set; }

    public long Requests { get; private set; }

    /// <summary>Thrown by whoever serves.</summary>
    public Exception? Fault { get; set; }

    /// <summary>What the worker's thread had allocated at its first and its last request.</summary>
    public (long First, long Last) Allocated { get; private set; }

    protected override ulong DeviceFeatures => 0;

    protected override void Serve(int worker, ulong queues)
    {
        if (Fault is { } fault)
            throw fault;
        Span<byte> bytes = stackalloc byte[256];
        for (int q = 0; q < 2; q++)
        {
            while ((queues & (1ul << q)) != 0 && Queues[q].TryPop(_chains[worker]))
            {
                AtDoor?.Signal();
                Door.Wait();
                ChainCursor reader = _chains[worker].Reader, writer = _chains[worker].Writer;
                int read = reader.Read(bytes);
                int written = writer.Write(bytes[..read]);
                long allocated = GC.GetAllocatedBytesForCurrentThread();
                Allocated = (Requests == 100 ? allocated : Allocated.First, allocated);
                Requests++;
                Queues[q].Push(_chains[worker], (uint)written);
            }
        }
    }
}
