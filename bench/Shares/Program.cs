using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using Trapline.Machine;

// What the vCPUs of machines that never rest get of one host processor: by weight, and by cap.
const int Processor = 0;
if (args is ["--help"])
{
    Console.WriteLine("./dev bench shares [SECONDS]: host processor time of busy machines by --cpu-weight and --cpu-cap, asked and measured");
    return 0;
}
int seconds = args.Length > 0 ? int.Parse(args[0], CultureInfo.InvariantCulture) : 20;
Console.WriteLine($"machines on host processor {Processor}, {seconds} s each");
Console.WriteLine("asked                 measured   off by");
int[] weights = [25, 50, 100];
double[] byWeight = await MeasureAsync([.. weights.Select(w => new CpuSpecification { Weight = w, Pins = [[Processor]] })]);
for (int i = 0; i < weights.Length; i++)
    Row($"weight {weights[i],3}", 100.0 * weights[i] / weights.Sum(), 100 * byWeight[i] / byWeight.Sum());
foreach (int cap in (int[])[10, 50, 100])
    Row($"cap {cap,3}%", cap, 100 * (await MeasureAsync([new CpuSpecification { CapPercent = cap, Pins = [[Processor]] }]))[0] / seconds);
return 0;

static void Row(string what, double asked, double measured) =>
    Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{what,-12}{asked,6:f1}%     {measured,6:f1}%   {100 * (measured - asked) / asked,5:f1}%"));

// Processor seconds of each machine's vCPU.
async Task<double[]> MeasureAsync(CpuSpecification[] cpus)
{
    List<GuestMachine> machines = [];
    List<string> threads = [];
    foreach (CpuSpecification cpu in cpus)
    {
        string[] before = Threads();
        GuestMachine machine = GuestMachine.Create(new MachineSpecification
        {
            MemoryBytes = 4 << 20,
            Cpu = cpu with { Engine = "translator" },
            Boot = new BootSpecification { Kernel = new BootFile("busy guest", BusyGuest()) },
        });
        machine.Start();
        machines.Add(machine);
        await Task.Delay(200);
        threads.Add(Threads().Except(before).Single());
    }
    await Task.Delay(1000);
    long[] start = [.. threads.Select(Ran)];
    Stopwatch watch = Stopwatch.StartNew();
    await Task.Delay(TimeSpan.FromSeconds(seconds));
    long[] end = [.. threads.Select(Ran)];
    double slack = seconds / watch.Elapsed.TotalSeconds;
    machines.ForEach(m => m.Dispose());
    return [.. end.Zip(start, (b, a) => (b - a) / 1e9 * slack)];
}

static string[] Threads() => [.. Directory.GetDirectories("/proc/self/task").Where(t => File.ReadAllText(t + "/comm").StartsWith("vcpu", StringComparison.Ordinal))];

// The first number of schedstat: nanoseconds on a processor (Linux, Documentation/scheduler/sched-stats.rst).
static long Ran(string thread) => long.Parse(File.ReadAllText(thread + "/schedstat").Split(' ')[0], CultureInfo.InvariantCulture);

// A Multiboot 1 kernel that is one jump to itself (Multiboot 0.6.96, 3.1).
static byte[] BusyGuest()
{
    const uint magic = 0x1BAD_B002, flags = 0x1_0000, load = 0x10_0000, entry = load + 0x20;
    byte[] image = new byte[0x1000];
    uint[] header = [magic, flags, unchecked(0u - magic - flags), load, load, load + 0x1000, load + 0x1000, entry];
    for (int i = 0; i < header.Length; i++)
        BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(i * 4), header[i]);
    image[0x20] = 0xEB;
    image[0x21] = 0xFE;
    return image;
}
