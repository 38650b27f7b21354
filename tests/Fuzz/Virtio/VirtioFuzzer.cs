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
    private const ulong QueuesAt = 0x1000, QueueStride = 0x4000, TablesAt = 0xB_8000;
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
        long requests = 0, resets = 0, breaks = 0, baseline = 0;
        Dictionary<string, (long Requests, long Used)> byType = types.ToDictionary(t => t, _ => (0L, 0L));
        TimeSpan slowest = TimeSpan.Zero;
        for (int round = 0; time.Elapsed.TotalSeconds < seconds && requests < cases; round++)
        {
            using TemporaryDirectory folder = new();
            using DeviceUnderTest device = new(types[round % types.Length], folder.Path, random);
            long requestsBefore = requests, used = 0;
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
            (long Requests, long Used) sum = byType[device.Type];
            byType[device.Type] = (sum.Requests + requests - requestsBefore, sum.Used + used);
            if (round + 1 == types.Length)
                baseline = ProcessBytes();
        }
        long growth = baseline == 0 ? 0 : ProcessBytes() - baseline;
        foreach ((string type, (long made, long used)) in byType)
            Console.WriteLine($"{type}: {made:N0} requests, {used:N0} used");
        Console.WriteLine($"{requests:N0} requests ({byType.Values.Sum(t => t.Used):N0} used), {resets:N0} resets, {breaks:N0} devices broken by their drivers, slowest reset {slowest.TotalMilliseconds:f0} ms, memory {growth >> 20:+0;-0;0} MiB since all types were seen, seed {seed}");
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
        RequestGenerator generator = new(device);
        bool packed = random.OneIn(3);
        ulong layout = VirtioFeatures.Version1 | (packed ? VirtioFeatures.RingPacked : 0), offered = driver.Offered & ~VirtioFeatures.RingPacked;
        device.Memory.TryWrite(new Gpa(QueuesAt), new byte[MostQueues * QueueStride]);
        // A choice that does not go together is refused, and all of them do.
        if (!driver.Negotiate((random.Next() & offered) | layout))
            driver.Negotiate(offered | layout);
        int count = Math.Min(driver.Device.Queues.Count, MostQueues);
        CountedQueue[] queues = new CountedQueue[count];
        for (int q = 0; q < count; q++)
        {
            ushort size = (ushort)(packed && random.OneIn(4) ? 1 + random.Below(64) : 1 << (random.OneIn(16) ? random.Below(3) : 3 + random.Below(4)));
            size = Math.Min(size, driver.Device.Queues[q].MaximumSize);
            queues[q] = new CountedQueue(driver.Queue(q, QueuesAt + (QueueStride * (ulong)q) + (random.OneIn(400) ? random.Integer() : 0), size, packed));
        }
        driver.DriverOk();
        for (int batch = 0; batch < BatchesPerLife && (driver.Status & 64) == 0; batch++)
        {
            int q = random.Below(count), wanted = 1 + random.Below(16), made = 0, taken = 0;
            while (made < wanted && TryAdd(random, driver, generator, queues[q], q, count))
                made++;
            requests += made;
            driver.Kick(q);
            if (random.OneIn(24))
                Disturb(random, device, queues);
            for (int turn = 0; turn < 200 && taken < made; turn++)
            {
                if (queues[q].TryTake())
                    taken++;
                else if (turn % 8 == 7)
                    Thread.Yield();
                else
                    Thread.SpinWait(20);
            }
            // What input and other queues' requests brought.
            foreach (CountedQueue queue in queues)
            {
                while (queue.TryTake())
                    taken++;
            }
            used += taken;
        }
    }

    private static bool TryAdd(RandomSource random, DriverFunction driver, RequestGenerator generator, CountedQueue queue, int q, int queues)
    {
        ReadOnlySpan<Buffer> buffers = generator.Make(random, q, queues);
        bool indirect = driver.Device.Has(VirtioFeatures.IndirectDescriptors) && random.OneIn(2);
        if (!queue.HasRoom(indirect ? 1 : buffers.Length) || buffers.Length > queue.Queue.Size)
            return false;
        queue.Add(buffers, indirect ? TablesAt + (ulong)(random.Below(256) * 128) : 0);
        return true;
    }

    private static void Disturb(RandomSource random, DeviceUnderTest device, CountedQueue[] queues)
    {
        DriverFunction driver = device.Driver;
        switch (random.Below(12))
        {
            case 0: // a word of some ring
                device.Memory.TryWrite(new Gpa(QueuesAt + (ulong)random.Below(MostQueues * (int)QueueStride)), [(byte)random.Next(), (byte)random.Next()]);
                break;
            case 1: // a descriptor that leads anywhere
                queues[0].Queue.Put(QueuesAt + (16ul * (ulong)random.Below(64)), new Buffer(random.Integer(), (uint)random.Integer(), false), (ushort)random.Next(), (ushort)random.Next());
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
