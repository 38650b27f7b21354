using System.Globalization;
using Trapline.Bench;
using Trapline.Images;

// What KVM's paravirtual interface buys a Linux guest: the same workloads in two guests that differ in it alone, in turns; the best of several guests each.
if (args.Contains("--help"))
{
    Console.WriteLine("./dev bench paravirt [--rounds N] [--engine NAME]\n  the same workloads in a guest without KVM's interface (--cpu max,-kvm) and in one with it");
    return 0;
}
int rounds = int.Parse(Option("--rounds", "5"), CultureInfo.InvariantCulture);
string engine = Option("--engine", "translator");
GuestImages images = await GuestImageStore.ForUser().GetAsync(null, CancellationToken.None);
byte[] program = await File.ReadAllBytesAsync(Path.Combine(AppContext.BaseDirectory, "paravirt"));
Results bare = new(), paravirtual = new();
for (int boot = 0; boot < rounds; boot++)
{
    // Who is first changes: what disturbs a round disturbs both.
    foreach (bool withKvm in boot % 2 == 0 ? new[] { false, true } : [true, false])
    {
        Results results = withKvm ? paravirtual : bare;
        using (BenchGuest guest = await BenchGuest.BootAsync(images, engine, withKvm, 1, program))
            await guest.MeasureAsync(results);
        foreach ((int vcpus, string workload) in new[] { (2, "ipi"), (4, "flush") })
        {
            using BenchGuest guest = await BenchGuest.BootAsync(images, engine, withKvm, vcpus, program);
            await guest.MeasureSeveralAsync(workload, results);
        }
    }
}
Console.WriteLine($"best of {rounds} guests each, {engine}; nanoseconds unless said otherwise\n");
Console.WriteLine("| workload | bare (-kvm) | paravirtual | ratio |\n|---|--:|--:|--:|");
foreach ((string name, string what) in BenchGuest.Rows)
{
    (double? a, double? b) = (bare.Best(name), paravirtual.Best(name));
    string ratio = a is { } x && b is { } y && x != 0 ? (y / x).ToString("F2", CultureInfo.InvariantCulture) : "";
    Console.WriteLine($"| {what} | {Show(a)} | {Show(b)} | {ratio} |");
}
return 0;

string Option(string name, string otherwise)
{
    int at = Array.IndexOf(args, name);
    return at >= 0 && at + 1 < args.Length ? args[at + 1] : otherwise;
}

static string Show(double? value) => value is { } v ? v.ToString(v < 1000 ? "F1" : "N0", CultureInfo.InvariantCulture) : "–";
