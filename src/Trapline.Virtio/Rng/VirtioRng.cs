using System.Security.Cryptography;
using Trapline.Memory;
using Trapline.Virtio.Queues;

namespace Trapline.Virtio.Rng;

/// <summary>The entropy device (virtio 1.2, 5.4): the host's random numbers, as many as the driver makes room for, up to a limit for each request.</summary>
public sealed class VirtioRng : VirtioDevice
{
    // A request of gigabytes would keep the worker, and nobody needs more at once: the driver takes what it gets (5.4.6.2).
    private const int MostBytes = 64 << 10;
    private const ushort QueueSize = 64;

    private readonly DescriptorChain _chain;

    public VirtioRng(GuestMemory memory)
        : base("virtio-rng", VirtioTypes.Entropy, memory, [QueueSize]) => _chain = new DescriptorChain(memory, QueueSize);

    protected override ulong DeviceFeatures => 0;

    protected override void Serve(int worker, ulong queues)
    {
        while (Queues[0].TryPop(_chain))
        {
            ChainCursor writer = _chain.Writer;
            while (writer.Position < MostBytes)
            {
                Span<byte> part = writer.NextToWrite(MostBytes - (int)writer.Position);
                if (part.IsEmpty)
                    break;
                RandomNumberGenerator.Fill(part);
            }
            Queues[0].Push(_chain, (uint)writer.Position);
        }
    }
}
