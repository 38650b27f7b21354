using System.Globalization;
using Trapline.Core;

namespace Trapline.Bench;

/// <summary>What was asked of ./dev bench cpu.</summary>
internal sealed record BenchOptions
{
    public const string Help = """
        ./dev bench cpu: the same guest under Trapline and under QEMU's software CPU, alternately, as ratios

          --rounds N        boot each that many times [default: 3]
          --only A,B        only these workloads; a name ending in * takes all that begin so; boot is one too
          --skip A,B        all but these
          --cpus N          vCPUs of the guests; with more than one, the workloads that run four programs at a time [default: 1]
          --scale F         scale the amount of work: 0.1 for an interpreter [default: 1]
          --engine NAME     Trapline's engine [default: the default one]
          --no-qemu         leave QEMU out
          --no-native       leave the host itself out
          --timeout SECONDS end a guest that takes longer [default: 3600]
          --image FILE      write the guest's initramfs there and stop, to run it by hand
          --list            list the workloads

        """;

    public int Rounds { get; private init; } = 3;
    public string[] Only { get; private init; } = [];
    public string[] Skip { get; private init; } = [];
    public int Cpus { get; private init; } = 1;
    public double Scale { get; private init; } = 1;
    public string? Engine { get; private init; }
    public bool Qemu { get; private init; } = true;
    public bool Native { get; private init; } = true;
    public string? Image { get; private init; }
    public TimeSpan Timeout { get; private init; } = TimeSpan.FromHours(1);

    public bool Wants(Workload workload) => (workload.Kind == Kind.Parallel) == Cpus > 1 && Wants(workload.Name);

    public bool Wants(string name) => (Only.Length == 0 || Only.Any(o => Matches(o, name))) && !Skip.Any(s => Matches(s, name));

    private static bool Matches(string pattern, string name) =>
        pattern.EndsWith('*') ? name.StartsWith(pattern[..^1], StringComparison.Ordinal) : pattern == name;

    /// <exception cref="BadInputException">An option or its value makes no sense.</exception>
    public static BenchOptions Parse(string[] arguments)
    {
        BenchOptions options = new();
        for (int i = 0; i < arguments.Length; i++)
        {
            string name = arguments[i];
            string Value() => i + 1 < arguments.Length ? arguments[++i] : throw new BadInputException($"{name} has no value: see --help");
            options = name switch
            {
                "--rounds" => options with { Rounds = (int)Number(name, Value()) },
                "--only" => options with { Only = Value().Split(',') },
                "--skip" => options with { Skip = Value().Split(',') },
                "--cpus" => options with { Cpus = (int)Number(name, Value()) },
                "--scale" => options with { Scale = Number(name, Value()) },
                "--engine" => options with { Engine = Value() },
                "--timeout" => options with { Timeout = TimeSpan.FromSeconds(Number(name, Value())) },
                "--image" => options with { Image = Value() },
                "--no-qemu" => options with { Qemu = false },
                "--no-native" => options with { Native = false },
                _ => throw new BadInputException($"unknown option '{name}': see ./dev bench cpu --help"),
            };
        }
        foreach (string pattern in options.Only.Concat(options.Skip))
        {
            if (pattern != Workloads.Boot && !Workloads.All.Any(w => Matches(pattern, w.Name)))
                throw new BadInputException($"there is no workload '{pattern}': see ./dev bench cpu --list");
        }
        return options;
    }

    private static double Number(string option, string value) =>
        double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && number > 0 && number < 1e6
            && (option is not ("--rounds" or "--cpus") || number >= 1)
            ? number
            : throw new BadInputException($"{option} '{value}' is no number that makes sense here");
}
