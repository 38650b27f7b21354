using System.Diagnostics;
using System.Runtime.InteropServices;
using Iced.Intel;

namespace Trapline.Fuzz;

/// <summary>What a fuzzing run found.</summary>
public sealed record FuzzReport(long Cases, IReadOnlyDictionary<string, int> Divergences, IReadOnlyList<string> Examples);

/// <summary>Runs random cases on the host CPU and on the engine and compares everything.</summary>
public static unsafe class CpuFuzzer
{
    /// <summary>Runs one case again, as a failure's first line names it. Gives its description, and the difference if there still is one.</summary>
    public static (string Case, string? Difference) Replay(ulong seed, int index, string filter, bool translate, int bits = 0)
    {
        using NativeOracle oracle = new();
        using EngineUnderTest engine = new(translate);
        Instruction[] instructions = new Instruction[NativeOracle.MaxCases];
        Fill(seed, Generators(filter, bits), oracle, instructions);
        oracle.Run(NativeOracle.MaxCases);
        NativeTest* test = oracle.Tests + index;
        NativeState* result = (NativeState*)NativeMemory.AllocZeroed((nuint)sizeof(NativeState));
        engine.Run(test, result, out uint vector, out uint errorCode, out ulong address);
        string? difference = Comparison.Difference(instructions[index], test, result, vector, errorCode, address);
        string text = $"{Comparison.Describe(instructions[index], test)}  host: vector {test->Vector}, engine: vector {vector}\n";
        NativeMemory.Free(result);
        return (text, difference);
    }

    /// <summary>
    /// For 64-bit code and for 32-bit code; <paramref name="bits"/> other than 0 wants one kind alone. Where the host runs no 32-bit code the second is as the first.
    /// </summary>
    private static CaseGenerator[] Generators(string filter, int bits) =>
        [new(bits == 32 ? 32 : 64, filter), new(bits == 64 || (bits == 0 && NativeOracle.Unavailable32 != null) ? 64 : 32, filter)];

    /// <summary>A batch follows from its seed (and the filter) alone, so that a failure replays from it.</summary>
    private static void Fill(ulong seed, CaseGenerator[] generators, NativeOracle oracle, Instruction[] instructions)
    {
        RandomSource random = new(seed);
        for (int i = 0; i < NativeOracle.MaxCases; i++)
        {
            CaseGenerator generator = generators[random.OneIn(4) && generators[1].Forms > 0 ? 1 : 0];
            instructions[i] = generator.Next(random, oracle.Tests + i);
        }
    }

    /// <param name="seconds">Stop after this long; 0: by <paramref name="maxCases"/> alone.</param>
    /// <param name="translate">Run by translation.</param>
    /// <param name="bits">64 or 32: only such code; 0: one case in four is 32-bit code.</param>
    /// <param name="maxExamples">Stop once this many divergences have been written down; 0: go on.</param>
    public static FuzzReport Run(ulong seed, double seconds, long maxCases, string filter, int maxExamples, int perMnemonic, Action<long>? progress = null, bool translate = false, int bits = 0)
    {
        using NativeOracle oracle = new();
        using EngineUnderTest engine = new(translate);
        CaseGenerator[] generators = Generators(filter, bits);
        Instruction[] instructions = new Instruction[NativeOracle.MaxCases];
        Dictionary<string, int> divergences = [];
        List<string> examples = [];
        NativeState* result = (NativeState*)NativeMemory.AllocZeroed((nuint)sizeof(NativeState));
        Stopwatch watch = Stopwatch.StartNew();
        long cases = 0;
        ulong batchSeed = seed;
        try
        {
            while (cases < maxCases && (seconds == 0 || watch.Elapsed.TotalSeconds < seconds))
            {
                Fill(batchSeed, generators, oracle, instructions);
                oracle.Run(NativeOracle.MaxCases);
                for (int i = 0; i < NativeOracle.MaxCases; i++)
                {
                    NativeTest* test = oracle.Tests + i;
                    engine.Run(test, result, out uint vector, out uint errorCode, out ulong address);
                    string? difference = Comparison.Difference(instructions[i], test, result, vector, errorCode, address);
                    if (difference == null)
                        continue;
                    string name = instructions[i].Mnemonic.ToString();
                    int seen = divergences[name] = divergences.GetValueOrDefault(name) + 1;
                    if (seen <= perMnemonic)
                        examples.Add($"./dev fuzz cpu --seed {batchSeed} --case {i}{(filter.Length > 0 ? $" --only {filter}" : "")}{(bits != 0 ? $" --bits {bits}" : "")}\n{Comparison.Describe(instructions[i], test)}{difference}");
                    if (maxExamples > 0 && examples.Count >= maxExamples)
                        return new FuzzReport(cases + i, divergences, examples);
                }
                cases += NativeOracle.MaxCases;
                batchSeed++;
                progress?.Invoke(cases);
            }
        }
        finally
        {
            NativeMemory.Free(result);
        }
        return new FuzzReport(cases, divergences, examples);
    }
}
