using System.Diagnostics;
using System.Globalization;
using Trapline.Bench;

// Interpreter speed in million guest instructions a second, of string instructions in million bytes a second. usage: [program,…] [--runs N] [--first] [--translator]
// --translator measures translated code, with its instructions counted, which costs a little. --first shows the first runs one by one: how soon the steady state is reached.
if (args.Contains("--help"))
{
    Console.WriteLine("./dev bench interpreter [PROGRAM,...] [--runs N] [--first] [--translator]\n"
        + string.Join('\n', Programs.All.Select(p => $"  {p.Name,-8}{p.What}")));
    return;
}
string[] wanted = args.Length > 0 && !args[0].StartsWith('-') ? args[0].Split(',') : [];
int runs = 9;
for (int i = 0; i < args.Length - 1; i++)
    if (args[i] == "--runs")
        runs = int.Parse(args[i + 1], CultureInfo.InvariantCulture);
bool first = args.Contains("--first");
foreach (Programs.Entry program in Programs.All)
{
    if (wanted.Length > 0 && !wanted.Contains(program.Name))
        continue;
    using BenchGuest guest = new(args.Contains("--translator"));
    guest.Load(program.Code);
    List<double> speeds = [];
    long instructions = 0;
    string wrong = "";
    for (int run = 0; run < runs; run++)
    {
        ulong expected = program.Prepare(guest);
        long before = guest.Instructions, start = Stopwatch.GetTimestamp();
        ulong result = guest.Run();
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        instructions = guest.Instructions - before;
        speeds.Add((program.Bytes != 0 ? program.Bytes : instructions) / seconds / 1e6);
        if (result != expected)
            wrong = $"  WRONG: {result:x}, not {expected:x}";
    }
    string trail = first ? "  " + string.Join(' ', speeds.Select(s => s.ToString("F0", CultureInfo.InvariantCulture))) : "";
    speeds.Sort();
    string unit = program.Bytes != 0 ? "MB/s" : "MIPS";
    Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
        $"{program.Name,-8}{speeds[runs / 2],8:F1} {unit}  best {speeds[^1],7:F1}  {instructions,12:N0} instructions  {program.What}{wrong}{trail}"));
}
