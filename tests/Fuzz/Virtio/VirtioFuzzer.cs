using System.Diagnostics;
using System.Globalization;
using Trapline.Core;
using Trapline.Testing;
using Trapline.Virtio;
using Trapline.Virtio.Queues;
using Trapline.Virtio.Tests;
using Buffer = Trapline.Virtio.Tests.Buffer;

namespace Trapline.Fuzz.Virtio;

/// <summary>Hostile drivers: mutated requests, rings and registers of every device type. The process must survive, answer and not grow.</summary>
/// <remarks>
/// A life of a device is a negotiation, some dozens of batches of requests on any of its queues, most of them nearly right, and a reset, which must
/// be done within a second. In between, rings are scribbled on, registers written, single queues reset, the machine paused and gone on.
/// </remarks>
internal static class VirtioFuzzer
{
    private const ulong QueuesAt = 0x1000, QueueStride = 0x4000, DataAt = 0x8_0000, TablesAt = 0xC_0000;
    private const int MostQueues = 6, BatchesPerLife = 40, LivesPerDevice = 200;
    private const long MostGrowth = 64 << 20;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    public static bool Knows(string[] arguments) => arguments is ["virtio", ..];

    /// <summary>fuzz virtio [--seconds N] [--cases N] [--seed S] [--only TYPE]; returns the exit status.</summary>
    public static int Run(string[] arguments)
    {
        double seconds = 10;
        long cases = long.MaxValue;
        ulong seed = (ulong)Environment.TickCount64;
        string only = "";
        for (int i = 1; i < arguments.Length; i += 2)
        {
            string value = i + 1 < arguments.Length ? arguments[i + 1] : "";
            bool ok = arguments[i] switch
            {
                "--seconds" => double.TryParse(value, CultureInfo.InvariantCulture, out seconds),
                "--cases" => long.TryParse(value, out cases),
                "--seed" => ulong.TryParse(value, out seed),
                "--only" => DeviceUnderTest.Types.Contains(only = value),
                _ => false,
            };
            if (!ok)
            {
                Console.Error.WriteLine($"usage: fuzz virtio [--seconds N] [--cases N] [--seed S] [--only {string.Join('|', DeviceUnderTest.Types)}]");
                return 2;
            }
        }
        return Run(seed, seconds, cases, only.Length > 0 ? [only] : DeviceUnderTest.Types);
    }

    private static int Run(ulong seed, double seconds, long cases, string[] types)
    {
        Stopwatch time = Stopwatch.StartNew();
        RandomSource random = new(seed);
        long requests = 0, used = 0, resets = 0, breaks = 0, baseline = 0;
        TimeSpan slowest = TimeSpan.Zero;
        for (int round = 0; time.Elapsed.TotalSeconds < seconds && requests < cases; round++)
        {
            using TemporaryDirectory folder = new();
            using DeviceUnderTest device = new(types[round % types.Length], folder.Path);
            for (int life = 0; life < LivesPerDevice && time.Elapsed.TotalSeconds < seconds && requests < cases; life++)
            {
                Live(random, device, ref requests, ref used);
                breaks += (device.Driver.Status & 64) != 0 ? 1 : 0;
                TimeSpan took = Reset(device.Driver);
                slowest = took > slowest ? took : slowest;
                resets++;
                if (took > Patience)
                {
                    Console.WriteLine($"{device.Type}: a reset took {took.TotalSeconds:f1} s; seed {seed}, {requests:N0} requests");
                    return 1;
                }
            }
            if (round + 1 == types.Length)
                baseline = ProcessBytes();
        }
        long growth = baseline == 0 ? 0 : ProcessBytes() - baseline;
        Console.WriteLine($"{requests:N0} requests ({used:N0} used), {resets:N0} resets, {breaks:N0} devices broken by their drivers, slowest reset {slowest.TotalMilliseconds:f0} ms, memory {growth >> 20:+0;-0;0} MiB since all types were seen, seed {seed}");
        return growth > MostGrowth ? 1 : 0;
    }

    private static long ProcessBytes()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();
        return Environment.WorkingSet;
    }

    private static TimeSpan Reset(DriverFunction driver)
    {
        long start = Stopwatch.GetTimestamp();
        driver.Status = 0;
        SpinWait.SpinUntil(() => driver.Status == 0, TimeSpan.FromSeconds(30));
        return Stopwatch.GetElapsedTime(start);
    }

    private static void Live(RandomSource random, DeviceUnderTest device, ref long requests, ref long used)
    {
        DriverFunction driver = device.Driver;
        bool packed = random.OneIn(3);
        ulong features = random.Next() & driver.Offered & ~VirtioFeatures.RingPacked | VirtioFeatures.Version1 | (packed ? VirtioFeatures.RingPacked : 0);
        device.Memory.TryWrite(new Gpa(QueuesAt), new byte[MostQueues * QueueStride]);
        driver.Negotiate(features);
        int count = Math.Min(driver.Device.Queues.Count, MostQueues);
        DriverQueue[] queues = new DriverQueue[count];
        for (int q = 0; q < count; q++)
        {
            ushort size = (ushort)(packed && random.OneIn(4) ? 1 + random.Below(64) : 1 << random.Below(7));
            size = Math.Min(size, driver.Device.Queues[q].MaximumSize);
            queues[q] = driver.Queue(q, QueuesAt + (QueueStride * (ulong)q) + (random.OneIn(200) ? random.Integer() : 0), size, packed);
        }
        driver.DriverOk();
        for (int batch = 0; batch < BatchesPerLife && (driver.Status & 64) == 0; batch++)
        {
            int q = random.Below(count), made = 1 + random.Below(16), taken = 0;
            for (int i = 0; i < made; i++)
                Add(random, device, queues[q], q);
            requests += made;
            driver.Kick(q);
            if (random.OneIn(12))
                Disturb(random, device, queues);
            for (int turn = 0; turn < 400 && taken < made; turn++)
            {
                if (queues[q].TakeUsed() is not null)
                    taken++;
                else
                    Thread.SpinWait(20);
            }
            used += taken;
        }
    }

    private static void Add(RandomSource random, DeviceUnderTest device, DriverQueue queue, int q)
    {
        Span<Buffer> buffers = stackalloc Buffer[6];
        int count = 1 + random.Below(Math.Min((int)queue.Size, 5));
        ulong at = DataAt + ((ulong)random.Below(0x3_0000) & ~63ul);
        device.WriteHead(random, at, q);
        int readable = random.OneIn(8) ? random.Below(count + 1) : 1 + random.Below(count);
        for (int i = 0; i < count; i++)
        {
            uint length = random.Below(8) switch { 0 => 1, 1 => 16, 2 => 512, 3 => 44, 4 => 4096, 5 => 1024, _ => (uint)random.Below(2000) };
            if (random.OneIn(400))
                length = (uint)random.Integer();
            ulong address = i == 0 ? at : random.OneIn(400) ? random.Integer() : DataAt + (ulong)random.Below(0x3_0000);
            buffers[i] = new Buffer(address, i == 0 && random.Below(4) != 0 ? device.Type == "block" ? 16 : 16 + (uint)random.Below(100) : length, i >= readable);
        }
        if (random.OneIn(300))
            buffers[random.Below(count)] = buffers[random.Below(count)] with { Writable = random.OneIn(2) };
        if (random.OneIn(4))
            queue.AddIndirect(TablesAt + (ulong)(random.Below(256) * 128), buffers[..count]);
        else
            queue.Add(buffers[..count]);
    }

    private static void Disturb(RandomSource random, DeviceUnderTest device, DriverQueue[] queues)
    {
        DriverFunction driver = device.Driver;
        switch (random.Below(12))
        {
            case 0: // a word of some ring
                device.Memory.TryWrite(new Gpa(QueuesAt + (ulong)random.Below(MostQueues * (int)QueueStride)), [(byte)random.Next(), (byte)random.Next()]);
                break;
            case 1: // a descriptor that leads anywhere
                queues[0].Put(QueuesAt + (16ul * (ulong)random.Below(64)), new Buffer(random.Integer(), (uint)random.Integer(), false), (ushort)random.Next(), (ushort)random.Next());
                break;
            case 2:
                driver.Write(0x16, 2, (ulong)random.Below(queues.Length));
                driver.Write(0x3A, 2, 1);
                break;
            case 3:
                driver.Write(random.Below(0x40), 1 << random.Below(4), random.Integer());
                break;
            case 4:
                driver.Write(DriverFunction.DeviceConfig + random.Below(64), 1 << random.Below(4), random.Integer());
                break;
            case 5:
                driver.Legacy?.WritePort((ushort)random.Below(32), 1 << random.Below(3), (uint)random.Integer());
                break;
            case 6:
                driver.Read(random.Below(0x4000), 1 << random.Below(4));
                break;
            case 7:
                driver.Device.Stand();
                driver.Device.Run();
                break;
            case 8:
                driver.Config(random.Below(256), 1 << random.Below(3), (uint)random.Integer());
                driver.Config(0x10, 4, DriverFunction.Ports);
                driver.Config(0x14, 4, (uint)DriverFunction.MsixTable);
                driver.Config(0x20, 4, (uint)DriverFunction.Window);
                driver.Config(4, 2, 7);
                break;
            default:
                driver.Kick(random.Below(queues.Length));
                break;
        }
    }
}
