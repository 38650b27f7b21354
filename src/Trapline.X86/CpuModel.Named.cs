namespace Trapline.X86;

/// <summary>The named models, and models made from them by adding and removing features.</summary>
public sealed partial class CpuModel
{
    private const uint IceLakeServer = 0x606A6;
    private const uint HaswellClient = 0x306C3;
    private const uint SkylakeClient = 0x506E3;
    private const uint Naples = 0x800F12;

    /// <summary>KVM's paravirtual interface as the software engines provide it; every model has it.</summary>
    private static readonly Feature[] Paravirtual =
    [
        Feature.Kvm, Feature.KvmClock, Feature.KvmClockStable, Feature.KvmNoIoDelay, Feature.KvmStealTime, Feature.KvmPvEoi, Feature.KvmPvUnhalt,
        Feature.KvmPvTlbFlush, Feature.KvmPvIpi, Feature.KvmPollControl, Feature.KvmPvSchedYield,
    ];

    /// <summary>Everything that x86-64 has always had, and what every virtual machine is given.</summary>
    private static readonly Feature[] Version1 =
    [
        Feature.Fpu, Feature.Vme, Feature.De, Feature.Pse, Feature.Tsc, Feature.Msr, Feature.Pae, Feature.Mce, Feature.Cx8, Feature.Apic, Feature.Sep,
        Feature.Mtrr, Feature.Pge, Feature.Mca, Feature.Cmov, Feature.Pat, Feature.Pse36, Feature.Clflush, Feature.Mmx, Feature.Fxsr, Feature.Sse,
        Feature.Sse2, Feature.Ht, Feature.Hypervisor, Feature.X2Apic, Feature.TscDeadline, Feature.TscAdjust, Feature.Arat, Feature.InvariantTsc,
        Feature.Syscall, Feature.Nx, Feature.Lm, Feature.ArchCapabilities, Feature.SpecCtrl, .. Paravirtual,
    ];

    private static readonly Feature[] Version2 =
    [
        .. Version1, Feature.Sse3, Feature.Ssse3, Feature.Sse41, Feature.Sse42, Feature.Cx16, Feature.Popcnt, Feature.LahfLm,
    ];

    private static readonly Feature[] Version3 =
    [
        .. Version2, Feature.Avx, Feature.Avx2, Feature.Bmi1, Feature.Bmi2, Feature.F16c, Feature.Fma, Feature.Lzcnt, Feature.Movbe, Feature.Xsave,
    ];

    private static readonly Feature[] HaswellFeatures =
    [
        .. Version3, Feature.Pclmulqdq, Feature.Aes, Feature.Pcid, Feature.Invpcid, Feature.Rdrand, Feature.FsGsBase, Feature.Smep, Feature.Erms,
        Feature.XsaveOpt, Feature.Rdtscp, Feature.Pdpe1Gb,
    ];

    private static readonly Feature[] SkylakeFeatures =
    [
        .. HaswellFeatures, Feature.Rdseed, Feature.Adx, Feature.Smap, Feature.PrefetchW, Feature.ClflushOpt, Feature.XsaveC, Feature.Xgetbv1,
        Feature.XsaveS, Feature.Pku, Feature.Umip,
    ];

    private static readonly Feature[] EpycFeatures =
    [
        .. SkylakeFeatures.Except([Feature.Pcid, Feature.Invpcid, Feature.ArchCapabilities, Feature.SpecCtrl, Feature.Pku, Feature.Erms, Feature.TscDeadline]),
        Feature.Sha, Feature.Cr8Legacy, Feature.MisalignSse, Feature.Syscall32,
    ];

    /// <summary>Everything that Trapline's software CPU can do.</summary>
    /// <remarks>
    /// Without MONITOR: in software MWAIT cannot see other vCPUs' stores, so that an idle loop built on it would only burn time; HLT sleeps.
    /// </remarks>
    public static CpuModel Max { get; } = new("max", isIntel: true, IceLakeServer,
        Enum.GetValues<Feature>().Except([Feature.Sse4a, Feature.La57, Feature.Monitor, Feature.Cr8Legacy, Feature.MisalignSse]));

    private static readonly CpuModel[] Models =
    [
        Max,
        new("x86-64-v1", isIntel: true, IceLakeServer, Version1),
        new("x86-64-v2", isIntel: true, IceLakeServer, Version2),
        new("x86-64-v3", isIntel: true, IceLakeServer, Version3),
        new("haswell", isIntel: true, HaswellClient, HaswellFeatures),
        new("skylake", isIntel: true, SkylakeClient, SkylakeFeatures),
        new("epyc", isIntel: false, Naples, EpycFeatures),
    ];

    /// <summary>What the interpreter cannot do and therefore no model may claim.</summary>
    private static readonly Feature[] Impossible = [Feature.Sse4a, Feature.La57];

    /// <summary>The models' names.</summary>
    public static IEnumerable<string> Names => Models.Select(model => model.Name);

    /// <summary>Parses <c>MODEL[,+feature,-feature]</c>. Null: <paramref name="message"/> says what is wrong.</summary>
    public static CpuModel? Parse(string text, out string message)
    {
        string[] parts = text.Split(',', StringSplitOptions.TrimEntries);
        List<(string Feature, bool Present)> changes = [];
        foreach (string part in parts.Skip(1))
        {
            if (part.Length < 2 || part[0] is not ('+' or '-'))
            {
                message = $"'{part}' in CPU '{text}': write +feature or -feature";
                return null;
            }
            changes.Add((part[1..], part[0] == '+'));
        }
        return Create(parts[0], changes, out message);
    }

    /// <summary>A named model with features added (with all they need) and removed (with all that needs them), in order.</summary>
    public static CpuModel? Create(string? name, IEnumerable<(string Feature, bool Present)> changes, out string message)
    {
        message = "";
        CpuModel? model = string.IsNullOrEmpty(name) ? Max : Models.FirstOrDefault(m => m.Name.Equals(name, StringComparison.OrdinalIgnoreCase));
        if (model == null)
        {
            message = $"unknown CPU model '{name}': use one of {string.Join(", ", Names)}";
            return null;
        }
        HashSet<Feature> features = [.. model.Features];
        bool any = false;
        foreach ((string changed, bool present) in changes)
        {
            if (!CpuFeatures.TryFind(changed, out Feature feature))
            {
                message = $"unknown CPU feature '{changed}': use names as in /proc/cpuinfo, such as avx2 or tsc_deadline_timer";
                return null;
            }
            if (present && Impossible.Contains(feature))
            {
                message = $"CPU feature '{changed}' is not available in software: leave it out";
                return null;
            }
            any = true;
            if (present)
                CpuFeatures.Add(features, feature);
            else
                CpuFeatures.Remove(features, feature);
        }
        if (!features.Contains(Feature.Fpu))
        {
            message = "a CPU without 'fpu' is not available: leave it in";
            return null;
        }
        return any ? new CpuModel(model.Name, model.IsIntel, model.Signature, features) { TscFrequency = model.TscFrequency } : model;
    }
}
