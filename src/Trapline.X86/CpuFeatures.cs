namespace Trapline.X86;

/// <summary>Where CPUID names a feature.</summary>
/// <param name="Name">Its name in Linux's /proc/cpuinfo, which is also its name on the command line.</param>
/// <param name="Register">0 to 3: EAX, EBX, ECX, EDX.</param>
internal readonly record struct FeatureBit(Feature Feature, string Name, uint Leaf, uint Subleaf, int Register, int Bit);

/// <summary>What every feature is called, where CPUID has it, and what it needs.</summary>
public static class CpuFeatures
{
    private const int A = 0, B = 1, C = 2, D = 3;

    /// <summary>Features without a CPUID bit of their own have leaf 0.</summary>
    internal static readonly FeatureBit[] Bits =
    [
        new(Feature.Fpu, "fpu", 1, 0, D, 0), new(Feature.Vme, "vme", 1, 0, D, 1), new(Feature.De, "de", 1, 0, D, 2),
        new(Feature.Pse, "pse", 1, 0, D, 3), new(Feature.Tsc, "tsc", 1, 0, D, 4), new(Feature.Msr, "msr", 1, 0, D, 5),
        new(Feature.Pae, "pae", 1, 0, D, 6), new(Feature.Mce, "mce", 1, 0, D, 7), new(Feature.Cx8, "cx8", 1, 0, D, 8),
        new(Feature.Apic, "apic", 1, 0, D, 9), new(Feature.Sep, "sep", 1, 0, D, 11), new(Feature.Mtrr, "mtrr", 1, 0, D, 12),
        new(Feature.Pge, "pge", 1, 0, D, 13), new(Feature.Mca, "mca", 1, 0, D, 14), new(Feature.Cmov, "cmov", 1, 0, D, 15),
        new(Feature.Pat, "pat", 1, 0, D, 16), new(Feature.Pse36, "pse36", 1, 0, D, 17), new(Feature.Clflush, "clflush", 1, 0, D, 19),
        new(Feature.Mmx, "mmx", 1, 0, D, 23), new(Feature.Fxsr, "fxsr", 1, 0, D, 24), new(Feature.Sse, "sse", 1, 0, D, 25),
        new(Feature.Sse2, "sse2", 1, 0, D, 26), new(Feature.Ht, "ht", 0, 0, D, 28),
        new(Feature.Sse3, "pni", 1, 0, C, 0), new(Feature.Pclmulqdq, "pclmulqdq", 1, 0, C, 1), new(Feature.Monitor, "monitor", 1, 0, C, 3),
        new(Feature.Ssse3, "ssse3", 1, 0, C, 9), new(Feature.Fma, "fma", 1, 0, C, 12), new(Feature.Cx16, "cx16", 1, 0, C, 13),
        new(Feature.Pcid, "pcid", 1, 0, C, 17), new(Feature.Sse41, "sse4_1", 1, 0, C, 19), new(Feature.Sse42, "sse4_2", 1, 0, C, 20),
        new(Feature.X2Apic, "x2apic", 1, 0, C, 21), new(Feature.Movbe, "movbe", 1, 0, C, 22), new(Feature.Popcnt, "popcnt", 1, 0, C, 23),
        new(Feature.TscDeadline, "tsc_deadline_timer", 1, 0, C, 24), new(Feature.Aes, "aes", 1, 0, C, 25),
        new(Feature.Xsave, "xsave", 1, 0, C, 26), new(Feature.Avx, "avx", 1, 0, C, 28), new(Feature.F16c, "f16c", 1, 0, C, 29),
        new(Feature.Rdrand, "rdrand", 1, 0, C, 30), new(Feature.Hypervisor, "hypervisor", 1, 0, C, 31),
        new(Feature.Arat, "arat", 6, 0, A, 2),
        new(Feature.FsGsBase, "fsgsbase", 7, 0, B, 0), new(Feature.TscAdjust, "tsc_adjust", 7, 0, B, 1), new(Feature.Bmi1, "bmi1", 7, 0, B, 3),
        new(Feature.Avx2, "avx2", 7, 0, B, 5), new(Feature.Smep, "smep", 7, 0, B, 7), new(Feature.Bmi2, "bmi2", 7, 0, B, 8),
        new(Feature.Erms, "erms", 7, 0, B, 9), new(Feature.Invpcid, "invpcid", 7, 0, B, 10), new(Feature.Rdseed, "rdseed", 7, 0, B, 18),
        new(Feature.Adx, "adx", 7, 0, B, 19), new(Feature.Smap, "smap", 7, 0, B, 20), new(Feature.ClflushOpt, "clflushopt", 7, 0, B, 23),
        new(Feature.Clwb, "clwb", 7, 0, B, 24), new(Feature.Sha, "sha_ni", 7, 0, B, 29),
        new(Feature.Umip, "umip", 7, 0, C, 2), new(Feature.Pku, "pku", 7, 0, C, 3), new(Feature.Vaes, "vaes", 7, 0, C, 9),
        new(Feature.Vpclmulqdq, "vpclmulqdq", 7, 0, C, 10), new(Feature.La57, "la57", 7, 0, C, 16), new(Feature.Rdpid, "rdpid", 7, 0, C, 22),
        new(Feature.Fsrm, "fsrm", 7, 0, D, 4), new(Feature.SpecCtrl, "spec_ctrl", 7, 0, D, 26),
        new(Feature.ArchCapabilities, "arch_capabilities", 7, 0, D, 29),
        new(Feature.XsaveOpt, "xsaveopt", 0xD, 1, A, 0), new(Feature.XsaveC, "xsavec", 0xD, 1, A, 1),
        new(Feature.Xgetbv1, "xgetbv1", 0xD, 1, A, 2), new(Feature.XsaveS, "xsaves", 0xD, 1, A, 3),
        new(Feature.Syscall, "syscall", 0x8000_0001, 0, D, 11), new(Feature.Nx, "nx", 0x8000_0001, 0, D, 20),
        new(Feature.Pdpe1Gb, "pdpe1gb", 0x8000_0001, 0, D, 26), new(Feature.Rdtscp, "rdtscp", 0x8000_0001, 0, D, 27),
        new(Feature.Lm, "lm", 0x8000_0001, 0, D, 29),
        new(Feature.LahfLm, "lahf_lm", 0x8000_0001, 0, C, 0), new(Feature.Cr8Legacy, "cr8_legacy", 0x8000_0001, 0, C, 4),
        new(Feature.Lzcnt, "abm", 0x8000_0001, 0, C, 5), new(Feature.Sse4a, "sse4a", 0x8000_0001, 0, C, 6),
        new(Feature.MisalignSse, "misalignsse", 0x8000_0001, 0, C, 7), new(Feature.PrefetchW, "3dnowprefetch", 0x8000_0001, 0, C, 8),
        new(Feature.Syscall32, "syscall32", 0, 0, D, 0), // SYSCALL outside 64-bit code, as AMD processors have it
        new(Feature.InvariantTsc, "nonstop_tsc", 0x8000_0007, 0, D, 8),
        // Linux, Documentation/virt/kvm/x86/cpuid.rst. The clock's two bits are its two pairs of MSRs.
        new(Feature.Kvm, "kvm", 0, 0, A, 0),
        new(Feature.KvmClock, "kvmclock", 0x4000_0001, 0, A, 0), new(Feature.KvmClock, "kvmclock", 0x4000_0001, 0, A, 3),
        new(Feature.KvmNoIoDelay, "kvm-nopiodelay", 0x4000_0001, 0, A, 1), new(Feature.KvmStealTime, "kvm-steal-time", 0x4000_0001, 0, A, 5),
        new(Feature.KvmPvEoi, "kvm-pv-eoi", 0x4000_0001, 0, A, 6), new(Feature.KvmPvUnhalt, "kvm-pv-unhalt", 0x4000_0001, 0, A, 7),
        new(Feature.KvmPvTlbFlush, "kvm-pv-tlb-flush", 0x4000_0001, 0, A, 9), new(Feature.KvmPvIpi, "kvm-pv-ipi", 0x4000_0001, 0, A, 11),
        new(Feature.KvmPollControl, "kvm-poll-control", 0x4000_0001, 0, A, 12), new(Feature.KvmPvSchedYield, "kvm-pv-sched-yield", 0x4000_0001, 0, A, 13),
        new(Feature.KvmClockStable, "kvmclock-stable-bit", 0x4000_0001, 0, A, 24),
    ];

    /// <summary>The leaves that hold feature bits, in the order of a model's masks.</summary>
    internal static readonly (uint Leaf, uint Subleaf)[] Leaves =
        [(1, 0), (6, 0), (7, 0), (0xD, 1), (0x4000_0001, 0), (0x8000_0001, 0), (0x8000_0007, 0)];

    /// <summary>Other names people use.</summary>
    private static readonly Dictionary<string, Feature> Aliases = new()
    {
        ["sse3"] = Feature.Sse3, ["sse4.1"] = Feature.Sse41, ["sse4.2"] = Feature.Sse42, ["sha"] = Feature.Sha, ["lzcnt"] = Feature.Lzcnt,
        ["prefetchw"] = Feature.PrefetchW, ["tsc-deadline"] = Feature.TscDeadline, ["invtsc"] = Feature.InvariantTsc,
        ["arch-capabilities"] = Feature.ArchCapabilities, ["spec-ctrl"] = Feature.SpecCtrl, ["mwait"] = Feature.Monitor,
    };

    /// <summary>Pairs: the first needs the second.</summary>
    private static readonly (Feature Feature, Feature Needs)[] Requirements =
    [
        (Feature.Sse, Feature.Fxsr), (Feature.Sse2, Feature.Sse), (Feature.Sse3, Feature.Sse2), (Feature.Ssse3, Feature.Sse3),
        (Feature.Sse41, Feature.Ssse3), (Feature.Sse42, Feature.Sse41), (Feature.Sse4a, Feature.Sse3), (Feature.Pclmulqdq, Feature.Sse2),
        (Feature.Aes, Feature.Sse2), (Feature.Sha, Feature.Ssse3), (Feature.MisalignSse, Feature.Sse), (Feature.Mmx, Feature.Fpu),
        (Feature.Fxsr, Feature.Fpu), (Feature.Xsave, Feature.Fxsr), (Feature.XsaveOpt, Feature.Xsave), (Feature.XsaveC, Feature.Xsave),
        (Feature.Xgetbv1, Feature.Xsave), (Feature.XsaveS, Feature.XsaveC), (Feature.Avx, Feature.Xsave), (Feature.Avx, Feature.Sse42),
        (Feature.Avx2, Feature.Avx), (Feature.Fma, Feature.Avx), (Feature.F16c, Feature.Avx), (Feature.Vaes, Feature.Avx), (Feature.Vaes, Feature.Aes),
        (Feature.Vpclmulqdq, Feature.Avx), (Feature.Vpclmulqdq, Feature.Pclmulqdq), (Feature.Pku, Feature.Xsave), (Feature.Pku, Feature.Lm),
        (Feature.Lm, Feature.Pae), (Feature.Lm, Feature.Msr), (Feature.Lm, Feature.Sse2), (Feature.Lm, Feature.Syscall), (Feature.Syscall, Feature.Msr),
        (Feature.Syscall32, Feature.Syscall), (Feature.Nx, Feature.Pae), (Feature.Pdpe1Gb, Feature.Lm), (Feature.LahfLm, Feature.Lm), (Feature.Cx16, Feature.Lm), (Feature.Pcid, Feature.Lm),
        (Feature.FsGsBase, Feature.Lm), (Feature.X2Apic, Feature.Apic), (Feature.X2Apic, Feature.Msr), (Feature.TscDeadline, Feature.Apic),
        (Feature.TscDeadline, Feature.Tsc), (Feature.TscAdjust, Feature.Tsc), (Feature.Rdtscp, Feature.Tsc), (Feature.InvariantTsc, Feature.Tsc),
        (Feature.Arat, Feature.Apic), (Feature.ArchCapabilities, Feature.Msr), (Feature.SpecCtrl, Feature.Msr), (Feature.Mca, Feature.Mce),
        (Feature.ClflushOpt, Feature.Clflush), (Feature.Clwb, Feature.Clflush),
        (Feature.Kvm, Feature.Hypervisor), (Feature.Kvm, Feature.Msr), (Feature.KvmClock, Feature.Kvm), (Feature.KvmClock, Feature.Tsc),
        (Feature.KvmClockStable, Feature.KvmClock), (Feature.KvmNoIoDelay, Feature.Kvm), (Feature.KvmStealTime, Feature.Kvm),
        (Feature.KvmPvEoi, Feature.Kvm), (Feature.KvmPvEoi, Feature.Apic), (Feature.KvmPvUnhalt, Feature.Kvm), (Feature.KvmPvUnhalt, Feature.Apic),
        (Feature.KvmPvTlbFlush, Feature.KvmStealTime), (Feature.KvmPvIpi, Feature.Kvm), (Feature.KvmPvIpi, Feature.Apic),
        (Feature.KvmPollControl, Feature.Kvm), (Feature.KvmPvSchedYield, Feature.Kvm),
    ];

    internal static bool TryFind(string name, out Feature feature)
    {
        name = name.ToLowerInvariant();
        foreach (ref readonly FeatureBit bit in Bits.AsSpan())
            if (bit.Name == name || bit.Name.Replace('_', '-') == name)
            {
                feature = bit.Feature;
                return true;
            }
        return Aliases.TryGetValue(name, out feature);
    }

    /// <summary>A feature's name on the command line and in Linux's /proc/cpuinfo.</summary>
    public static string NameOf(Feature feature)
    {
        foreach (ref readonly FeatureBit bit in Bits.AsSpan())
            if (bit.Feature == feature)
                return bit.Name;
        return feature.ToString().ToLowerInvariant();
    }

    /// <summary>Adds a feature with everything it needs.</summary>
    internal static void Add(HashSet<Feature> features, Feature feature)
    {
        if (!features.Add(feature))
            return;
        foreach ((Feature one, Feature needs) in Requirements)
            if (one == feature)
                Add(features, needs);
    }

    /// <summary>Removes a feature with everything that needs it.</summary>
    internal static void Remove(HashSet<Feature> features, Feature feature)
    {
        if (!features.Remove(feature))
            return;
        foreach ((Feature one, Feature needs) in Requirements)
            if (needs == feature)
                Remove(features, one);
    }
}
