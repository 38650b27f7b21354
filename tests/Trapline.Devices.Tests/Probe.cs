using Trapline.Core;

namespace Trapline.Devices.Tests;

/// <summary>Checks that every chip must pass: random register accesses neither throw nor allocate.</summary>
internal static class Probe
{
    private static readonly int[] PortSizes = [1, 2, 4];
    private static readonly int[] MmioSizes = [1, 2, 4, 8];

    public static void FuzzPorts(IPortDevice device, int range, Action? between = null, int rounds = 20_000, int seed = 1)
    {
        var random = new Random(seed);
        for (int i = 0; i < rounds; i++)
        {
            ushort offset = (ushort)random.Next(range);
            int size = PortSizes[random.Next(3)];
            if (random.Next(2) == 0)
                device.ReadPort(offset, size);
            else
                device.WritePort(offset, size, (uint)random.NextInt64());
            if ((i & 15) == 0)
                between?.Invoke();
        }
    }

    public static void FuzzMmio(IMmioDevice device, ulong range, Action? between = null, int rounds = 20_000, int seed = 1)
    {
        var random = new Random(seed);
        for (int i = 0; i < rounds; i++)
        {
            ulong offset = (ulong)random.NextInt64((long)range);
            if (random.Next(4) != 0)
                offset &= ~3ul;
            int size = MmioSizes[random.Next(4)];
            if (random.Next(2) == 0)
                device.ReadMmio(offset, size);
            else
                device.WriteMmio(offset, size, (ulong)random.NextInt64() << random.Next(2));
            if ((i & 15) == 0)
                between?.Invoke();
        }
    }

    /// <summary>Runs <paramref name="action"/> until it is warm, then asserts that one more run allocates nothing.</summary>
    public static void AllocatesNothing(Action action)
    {
        action();
        action();
        long before = GC.GetAllocatedBytesForCurrentThread();
        action();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }
}
