using System.Diagnostics;
using System.Globalization;
using Trapline.Bench;
using Trapline.Kvm;

// The round trip of a port-I/O exit: the engine's loop in C# beside a loop in C around the same ioctl, one after the other, several rounds in one run.
if (args.Contains("--help"))
{
    Console.WriteLine("./dev bench kvm [--rounds N] [--exits N]\n  time of a port-I/O exit in the KVM engine beside a C loop around KVM_RUN; the bar is 1.10");
    return 0;
}
int rounds = Option("--rounds", 15), exits = Option("--exits", 4000);
if (KvmDevice.TryOpen(out string? obstacle) is not { } device)
{
    Console.Error.WriteLine($"bench: {obstacle}");
    return 2;
}
using EngineLoop engine = new(device);
engine.Run(exits); // so that the code is compiled before the first round
List<double> ours = [], theirs = [], ratios = [];
for (int round = 0; round < rounds; round++)
{
    // Who goes first changes: what disturbs a round disturbs both.
    bool oursFirst = round % 2 == 0;
    double a = oursFirst ? engine.Run(exits) : LoopInC(exits);
    double b = oursFirst ? LoopInC(exits) : engine.Run(exits);
    (double our, double their) = oursFirst ? (a, b) : (b, a);
    ours.Add(our);
    theirs.Add(their);
    ratios.Add(our / their);
}
Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
    $"C# {Median(ours):F0} ns, C {Median(theirs):F0} ns an exit (medians of {rounds} rounds of {exits}); ratio {Median(ratios):F3} (median), {ours.Min() / theirs.Min():F3} (best of each)"));
return Median(ratios) <= 1.10 ? 0 : 1;

int Option(string name, int otherwise)
{
    int at = Array.IndexOf(args, name);
    return at >= 0 && at + 1 < args.Length ? int.Parse(args[at + 1], CultureInfo.InvariantCulture) : otherwise;
}

static double Median(List<double> values)
{
    double[] sorted = [.. values.Order()];
    return sorted[sorted.Length / 2];
}

static double LoopInC(int exits)
{
    ProcessStartInfo start = new(Path.Combine(AppContext.BaseDirectory, "exits"), [exits.ToString(CultureInfo.InvariantCulture)]) { RedirectStandardOutput = true };
    using Process process = Process.Start(start)!;
    string output = process.StandardOutput.ReadToEnd();
    process.WaitForExit();
    return process.ExitCode == 0 ? double.Parse(output, CultureInfo.InvariantCulture) : throw new InvalidOperationException("the loop in C failed");
}
