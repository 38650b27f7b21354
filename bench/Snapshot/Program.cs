using System.Diagnostics;
using System.Globalization;
using Trapline;
using Trapline.Images;
using Trapline.Machine;

// What it costs to switch engines, save, restore and copy the default guest, booted, with 512 MiB.
if (args.Contains("--help"))
{
    Console.WriteLine("./dev bench snapshot [COPIES]    20 copies if not said otherwise");
    return;
}
int copies = args.Length > 0 ? int.Parse(args[0], CultureInfo.InvariantCulture) : 20;
GuestImages images = await GuestImageStore.ForUser().GetAsync(null, default);
using VirtualMachine vm = VirtualMachine.CreateDefaultGuest(images, new MachineSpecification());
vm.Start();
await Answer(vm);

List<double> pauses = [];
for (int i = 0; i < 200; i++)
    pauses.Add((await vm.SwitchEngineAsync(i % 2 == 0 ? "interpreter" : "translator")).TotalMilliseconds);
Report("engine switch, pause", pauses);

string file = Path.GetTempFileName();
try
{
    List<double> saves = [], stood = [], first = [], answers = [];
    for (int i = 0; i < 5; i++)
    {
        long start = Stopwatch.GetTimestamp();
        stood.Add((await vm.SaveAsync(file)).TotalMilliseconds);
        saves.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
    }
    Report("save, pause", stood);
    Report("save, until it is on the disk", saves);
    for (int i = 0; i < copies; i++)
    {
        long start = Stopwatch.GetTimestamp();
        using VirtualMachine copy = VirtualMachine.Restore(file);
        copy.Start();
        while (copy.Statistics.Vcpus[0].Counters.Instructions == 0)
            Thread.Yield();
        first.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
        await Answer(copy);
        answers.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
    }
    Report("restore, to the first instruction", first);
    Report("restore, to a command's answer", answers);
}
finally
{
    File.Delete(file);
}

List<VirtualMachine> alive = [];
GC.Collect();
long before = PrivateDirty(), forking = Stopwatch.GetTimestamp();
alive.AddRange(await vm.ForkAsync(copies));
double each = Stopwatch.GetElapsedTime(forking).TotalMilliseconds / copies;
long born = PrivateDirty();
await Task.Delay(TimeSpan.FromSeconds(2)); // they learn that they are copies, and rest
long settled = PrivateDirty();
await Task.WhenAll(alive.Select(Answer));
long answered = PrivateDirty();
List<double> single = [];
for (int i = 0; i < 10; i++)
{
    long start = Stopwatch.GetTimestamp();
    alive.AddRange(await vm.ForkAsync(1));
    single.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
}
Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{"copy, each of " + copies,-36}{each,9:F2} ms"));
Report("copy, one at a time after a run", single);
Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{"copy, unshared memory at birth",-36}{(born - before) / 1024.0 / copies,9:F2} MiB each"));
Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{"copy, unshared after two seconds",-36}{(settled - before) / 1024.0 / copies,9:F2} MiB each"));
Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{"copy, unshared after an answer",-36}{(answered - before) / 1024.0 / copies,9:F2} MiB each"));
alive.ForEach(copy => copy.Dispose());
vm.Stop();

static Task<Trapline.Agent.ProgramResult> Answer(VirtualMachine vm) => vm.ExecuteAsync(VirtualMachine.Program("true"));

static void Report(string what, List<double> milliseconds)
{
    milliseconds.Sort();
    Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
        $"{what,-36}{milliseconds[milliseconds.Count / 2],9:F2} ms median  {milliseconds[0],9:F2} least  {milliseconds[^1],9:F2} most  of {milliseconds.Count}"));
}

// KiB of this process that nobody shares and that were written (proc(5)).
static long PrivateDirty() => File.ReadLines("/proc/self/smaps_rollup").Where(l => l.StartsWith("Private_Dirty:", StringComparison.Ordinal))
    .Sum(l => long.Parse(l.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture));
