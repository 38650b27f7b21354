using System.Diagnostics;
using System.Globalization;
using Trapline.Storage.Faults;

namespace Trapline.Fuzz.Images;

/// <summary>`fuzz image`, `fuzz image-power`, `fuzz image-kill`: [--seconds N] [--cases N] [--seed S].</summary>
internal static class ImageFuzzer
{
    private const int KillsAnImage = 20;

    public static bool Knows(string[] arguments) => arguments is ["image" or "image-power" or "image-kill" or "image-writer", ..];

    public static int Run(string[] arguments)
    {
        if (arguments is ["image-writer", { } path, { } writerSeed])
            return ImageWriter.Run(path, int.Parse(writerSeed, CultureInfo.InvariantCulture));
        (double seconds, int cases, int seed) = (0, int.MaxValue, Environment.TickCount & 0xFFFFFF);
        for (int i = 1; i < arguments.Length; i += 2)
        {
            string value = i + 1 < arguments.Length ? arguments[i + 1] : "";
            bool ok = arguments[i] switch
            {
                "--seconds" => double.TryParse(value, CultureInfo.InvariantCulture, out seconds),
                "--cases" => int.TryParse(value, CultureInfo.InvariantCulture, out cases),
                "--seed" => int.TryParse(value, CultureInfo.InvariantCulture, out seed),
                _ => false,
            };
            if (!ok)
            {
                Console.Error.WriteLine($"fuzz: cannot use '{arguments[i]} {value}': fuzz {arguments[0]} takes --seconds N, --cases N, --seed S");
                return 2;
            }
        }
        if (seconds == 0 && cases == int.MaxValue)
            seconds = 10;
        return Run(arguments[0], seconds, cases, seed);
    }

    private static int Run(string target, double seconds, int cases, int seed)
    {
        Func<int, string?> one = target switch
        {
            "image-power" => PowerLossTrial.Run,
            "image-kill" => Kills(),
            _ => new MutatedImageTrial(
                MutatedImageTrial.MakeOriginals(() => new MemoryImageFile(), f => ((MemoryImageFile)f).ToArray()), image => new MemoryImageFile(image)).Run,
        };
        Stopwatch time = Stopwatch.StartNew();
        int done = 0;
        for (; done < cases && (seconds == 0 || time.Elapsed.TotalSeconds < seconds); done++)
        {
            if (one(seed + done) is not { } wrong)
                continue;
            Console.WriteLine($"seed {seed + done}: {wrong}");
            return 1;
        }
        Console.WriteLine($"{done:N0} cases, nothing wrong, first seed {seed}, {time.Elapsed.TotalSeconds:N0} s");
        return 0;
    }

    private static Func<int, string?> Kills()
    {
        string path = Path.Combine(Path.GetTempPath(), $"trapline-fuzz-{Environment.ProcessId}.qcow2");
        ImageKillTrial? trial = null;
        int kills = 0;
        bool qemu = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(f => File.Exists(Path.Combine(f, "qemu-img")));
        return seed =>
        {
            if (kills++ % KillsAnImage == 0)
                trial = new ImageKillTrial(path, seed);
            string? wrong = trial!.Kill(qemu && kills % 10 == 0);
            if (wrong == null && kills % KillsAnImage == 0)
                File.Delete(path);
            return wrong == null ? null : $"{wrong}; the image is {path}";
        };
    }
}
