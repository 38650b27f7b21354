using System.Globalization;
using Trapline.Fuzz;
using Trapline.Fuzz.Images;
using Trapline.Fuzz.Network;
using Trapline.Fuzz.Virtio;

// ./dev fuzz cpu [--seconds N] [--cases N] [--seed S] [--case I] [--only MNEMONIC,…] [--survey] [--bits 32|64] [--translator] [--translator-stress] [--without-pext]
// ./dev fuzz virtio [--seconds N] [--cases N] [--seed S] [--only TYPE]
// ./dev fuzz network [--seconds N] [--cases N] [--seed S]
// ./dev fuzz image|image-power|image-kill [--seconds N] [--cases N] [--seed S]
if (ImageFuzzer.Knows(args))
    return ImageFuzzer.Run(args);
if (VirtioFuzzer.Knows(args))
    return VirtioFuzzer.Run(args);
if (NetworkFuzzer.Knows(args))
    return NetworkFuzzer.Run(args);
if (args.Length == 0 || args[0] != "cpu")
{
    Console.Error.WriteLine("usage: fuzz cpu [--seconds N] [--cases N] [--seed S] [--case I] [--only MNEMONIC,...] [--survey] [--bits 32|64] [--translator] [--translator-stress] [--without-pext]");
    Console.Error.WriteLine("  runs random instructions on the host CPU and on the interpreter and compares all state");
    Console.Error.WriteLine("   or: fuzz image|image-power|image-kill [--seconds N] [--cases N] [--seed S]");
    Console.Error.WriteLine("  mutated qcow2 images; images on a disk that loses power; writers that are killed");
    Console.Error.WriteLine("   or: fuzz virtio [--seconds N] [--cases N] [--seed S] [--only TYPE]");
    Console.Error.WriteLine("  hostile drivers of all virtio devices");
    Console.Error.WriteLine("   or: fuzz network [--seconds N] [--cases N] [--seed S]");
    Console.Error.WriteLine("  mutated frames through the filter of --allow-net");
    Console.Error.WriteLine("  --case     run again the one case of a seed that a failure named");
    Console.Error.WriteLine("  --bits     32-bit code alone, or 64-bit code; else one case in four is 32-bit");
    Console.Error.WriteLine("  --translator  one instruction at a time by translation instead of the interpreter");
    Console.Error.WriteLine("  --translator-stress  random programs by interpreter and translator, without the host: all state compared, forced slow paths");
    Console.Error.WriteLine("  --without-pext  let the translator emit what it does for hosts whose PEXT is slow");
    Console.Error.WriteLine("  --survey   go on after divergences and count them by mnemonic");
    return 2;
}
if (NativeOracle.Unavailable is { } reason)
{
    Console.Error.WriteLine($"fuzz: {reason}");
    return 2;
}
double seconds = 0;
long cases = long.MaxValue;
ulong seed = (ulong)Environment.TickCount64;
string only = "";
bool survey = false, translate = false, stress = false;
int replayed = -1, bits = 0;
for (int i = 1; i < args.Length; i++)
{
    string value = i + 1 < args.Length ? args[i + 1] : "";
    bool ok = args[i] switch
    {
        "--seconds" => double.TryParse(value, CultureInfo.InvariantCulture, out seconds),
        "--cases" => long.TryParse(value, out cases),
        "--seed" => ulong.TryParse(value, out seed),
        "--case" => int.TryParse(value, out replayed) && replayed is >= 0 and < NativeOracle.MaxCases,
        "--bits" => int.TryParse(value, out bits) && bits is 32 or 64,
        "--only" => (only = value).Length > 0,
        "--survey" => survey = true,
        "--translator" => translate = true,
        "--translator-stress" => stress = true,
        "--without-pext" => !(EngineUnderTest.Options = EngineUnderTest.Options with { Extract = false }).Extract,
        _ => false,
    };
    if (!ok)
    {
        Console.Error.WriteLine($"fuzz: cannot use '{args[i]} {value}': see 'fuzz' without arguments");
        return 2;
    }
    if (args[i] is not ("--survey" or "--translator" or "--translator-stress" or "--without-pext"))
        i++;
}
if (replayed >= 0)
{
    (string description, string? difference) = CpuFuzzer.Replay(seed, replayed, only, translate, bits);
    Console.Write(description);
    Console.WriteLine(difference ?? "  the engine agrees with the host");
    return difference == null ? 0 : 1;
}
if (seconds == 0 && cases == long.MaxValue)
    seconds = 10;
long shown = 0;
FuzzReport report = stress
    ? SequenceFuzzer.Run(seed, seconds, cases, survey ? 0 : 1, Progress, bits, only)
    : CpuFuzzer.Run(seed, seconds, cases, only, survey ? 0 : 1, perMnemonic: 1, Progress, translate, bits);
foreach (string example in report.Examples)
    Console.WriteLine(example);
foreach ((string mnemonic, int count) in report.Divergences.OrderByDescending(d => d.Value))
    Console.WriteLine($"{count,8} {mnemonic}");
Console.WriteLine($"{report.Cases:N0} cases, {report.Divergences.Values.Sum():N0} divergences, first seed {seed}");
return report.Divergences.Count == 0 ? 0 : 1;

void Progress(long count)
{
    if (count - shown < 1_000_000)
        return;
    shown = count;
    Console.Error.WriteLine($"fuzz: {count:N0} cases");
}
