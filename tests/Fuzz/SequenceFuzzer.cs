using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Iced.Intel;

namespace Trapline.Fuzz;

/// <summary>Runs random programs by interpreter and translator from the same state and compares everything: needs no oracle.</summary>
public static unsafe class SequenceFuzzer
{
    /// <summary>Case i of a run follows from its seed plus i alone.</summary>
    /// <param name="seconds">Stop after this long; 0: by <paramref name="maxCases"/> alone.</param>
    /// <param name="bits">64 or 32: only such code; 0: one program in four is 32-bit code.</param>
    /// <param name="maxExamples">Stop once this many divergences have been written down; 0: go on.</param>
    public static FuzzReport Run(ulong seed, double seconds, long maxCases, int maxExamples, Action<long>? progress = null, int bits = 0, string filter = "")
    {
        using EngineUnderTest engine = new(lockstep: true);
        SequenceGenerator wide = new(64, filter), narrow = new(32, filter);
        NativeTest* test = (NativeTest*)NativeMemory.AllocZeroed((nuint)sizeof(NativeTest));
        Dictionary<string, int> divergences = [];
        List<string> examples = [];
        Span<byte> code = stackalloc byte[12 * 16];
        Stopwatch watch = Stopwatch.StartNew();
        long cases = 0;
        try
        {
            for (; cases < maxCases && (seconds == 0 || watch.Elapsed.TotalSeconds < seconds); cases++)
            {
                RandomSource random = new(seed + (ulong)cases);
                bool narrowCase = bits == 32 || (bits == 0 && (seed + (ulong)cases) % 4 == 3);
                int length = (narrowCase ? narrow : wide).Next(seed + (ulong)cases, random, test, code);
                string? difference = engine.RunSequence(&test->In, code[..length], random, (int)test->Bits);
                progress?.Invoke(cases);
                if (difference == null)
                    continue;
                string field = difference.Split('\n')[^2].Split(':')[0].Trim();
                divergences[field] = divergences.GetValueOrDefault(field) + 1;
                if (divergences[field] <= 3)
                    examples.Add($"./dev fuzz cpu --translator-stress --bits {test->Bits}{(filter.Length > 0 ? $" --only {filter}" : "")} --seed {seed + (ulong)cases} --cases 1\n{Describe(test, code[..length])}{difference}");
                if (maxExamples > 0 && examples.Count >= maxExamples)
                    break;
            }
        }
        finally
        {
            NativeMemory.Free(test);
        }
        return new FuzzReport(cases, divergences, examples);
    }

    private static string Describe(NativeTest* test, ReadOnlySpan<byte> code)
    {
        StringBuilder text = new();
        Iced.Intel.Decoder decoder = Iced.Intel.Decoder.Create((int)test->Bits, code.ToArray(), test->In.Rip);
        while (decoder.IP < test->In.Rip + (ulong)code.Length)
        {
            Instruction instruction = decoder.Decode();
            text.Append(CultureInfo.InvariantCulture, $"  {instruction.IP:x} {instruction}\n");
        }
        for (int i = 0; i < 16; i++)
            text.Append(CultureInfo.InvariantCulture, $"  r{i}={test->In.Gpr[i]:x}{(i % 4 == 3 ? "\n" : "")}");
        return text.Append(CultureInfo.InvariantCulture, $"  rflags={test->In.Rflags:x}\n").ToString();
    }
}
