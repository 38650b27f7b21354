using System.Globalization;
using Trapline.Core;
using Trapline.Cpu;
using Trapline.Cpu.Translator;
using Trapline.Host;
using Trapline.Kvm;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Machine;

/// <summary>What an engine is given for one vCPU.</summary>
public sealed record EngineParts(
    int Index, int Count, GuestMemory Memory, CpuModel Model, IIoSeam Io, IInterruptSource Interrupts, ILentApic Apic, IGuestClock Clock,
    EngineResources Resources)
{
    /// <summary>Who wants to see exceptions; null for nobody.</summary>
    public IEngineTrace? Trace { get; init; }

    /// <summary>Whether <see cref="Trace"/> wants page walks too.</summary>
    public bool TraceWalks { get; init; }

    /// <summary>Whether <see cref="Trace"/> wants translations too.</summary>
    public bool TraceTranslations { get; init; }

    /// <summary>Most bytes of emitted code.</summary>
    public ulong CodeCacheBytes { get; init; } = CpuSpecification.DefaultCodeCache;

    /// <summary>Count instructions and take times where that costs something.</summary>
    public bool Measure { get; init; }
}

/// <summary>Which engine runs a machine.</summary>
/// <param name="Why">For people, without a full stop.</param>
public sealed record EngineChoice(string Name, string Why);

/// <summary>Makes the engine of one vCPU.</summary>
public delegate IVcpuEngine EngineFactory(EngineParts parts);

/// <summary>The engines by name: the one place that picks one.</summary>
public static class Engines
{
    /// <summary>The best that works here: see <see cref="Choose(string)"/>.</summary>
    public const string Default = Auto;

    private const string Auto = "auto";

    public static IReadOnlyList<string> Names { get; } = [Auto, "translator", "interpreter", "kvm", "verify"];

    /// <summary>Decides what "auto" means on this host: KVM if it works and is fast, else the translator, else the interpreter.</summary>
    /// <param name="name">Any other name stays what it is.</param>
    public static EngineChoice Choose(string name) => name != Auto
        ? new EngineChoice(name, "it was asked for")
        : Choose(KvmProbe.ProcessorHasHardware, () => (KvmProbe.Measure(out string? obstacle), obstacle));

    /// <param name="hardware">The processor offers virtualization; without, nothing is measured.</param>
    /// <param name="measure">KVM's speed, or why it has none.</param>
    internal static EngineChoice Choose(bool hardware, Func<(KvmSpeed? Speed, string? Obstacle)> measure)
    {
        string why = "the processor offers this host neither VMX nor SVM, so that a KVM could only emulate";
        if (hardware)
        {
            (KvmSpeed? speed, string? obstacle) = measure();
            why = speed is { } figures
                ? string.Create(CultureInfo.InvariantCulture,
                    $"KVM is {(figures.IsFast ? "fast" : "slow")} here: {figures.NanosecondsPerInstruction:F2} ns an instruction, {figures.MicrosecondsPerExit:F1} us an exit")
                : obstacle!;
            if (speed is { IsFast: true })
                return new EngineChoice("kvm", why);
        }
        return SoftwareVcpu.TranslatorObstacle is { } missing
            ? new EngineChoice("interpreter", $"{why}; and no translator: {missing}")
            : new EngineChoice("translator", why);
    }

    /// <exception cref="BadInputException">No engine has this name.</exception>
    public static EngineFactory Find(string name) => name switch
    {
        Auto => Find(Choose(name).Name),
        "interpreter" => Software,
        "translator" => Translator,
        "kvm" => Kvm,
        "verify" => Lockstep,
        _ => throw new BadInputException($"unknown engine '{name}': use one of {string.Join(", ", Names)}"),
    };

    /// <exception cref="BadInputException">The number of vCPUs or the code cache's size is out of range.</exception>
    internal static void Check(CpuSpecification cpu)
    {
        if (cpu.Count is < 1 or > CpuSpecification.MaximumCount)
            throw new BadInputException($"a machine of {cpu.Count} vCPUs is out of range: use 1 to {CpuSpecification.MaximumCount}");
        VcpuPlacement.Check(cpu);
        if (cpu.CodeCacheBytes is < CpuSpecification.SmallestCodeCache or > CpuSpecification.LargestCodeCache)
            throw new BadInputException($"a code cache of {cpu.CodeCacheBytes} bytes is out of range: use 1M to 1G");
    }

    private static SoftwareVcpu Translator(EngineParts parts)
    {
        SoftwareVcpu vcpu = Software(parts);
        vcpu.EnableTranslator(new TranslatorOptions(parts.CodeCacheBytes, Count: parts.Measure, Time: parts.Measure) { Clock = HostTime.MonotonicReader });
        vcpu.Observe(parts.Trace, parts.TraceWalks, parts.TraceTranslations);
        return vcpu;
    }

    private static SoftwareVcpu Lockstep(EngineParts parts)
    {
        if (parts.Count > 1)
            throw new BadInputException("engine 'verify' compares the work of one vCPU; this machine has more");
        SoftwareVcpu vcpu = Software(parts);
        if (!vcpu.EnableLockstep(new TranslatorOptions(parts.CodeCacheBytes)))
            throw new BadInputException($"engine 'verify' cannot run here: {vcpu.Shortcoming}");
        vcpu.Observe(parts.Trace, parts.TraceWalks, parts.TraceTranslations);
        return vcpu;
    }

    private static KvmVcpu Kvm(EngineParts parts)
    {
        try
        {
            return new KvmVcpu(parts.Resources.Kvm, parts.Index, parts.Count, parts.Model, parts.Io, parts.Interrupts, parts.Apic);
        }
        catch (KvmException refusal)
        {
            throw new BadInputException($"engine 'kvm' cannot run vCPU {parts.Index} here: {refusal.Message}");
        }
    }

    private static SoftwareVcpu Software(EngineParts parts)
    {
        SoftwareVcpu vcpu = new(parts.Index, parts.Memory, parts.Model, parts.Io, parts.Interrupts)
        {
            VcpuCount = parts.Count,
            ApicId = (uint)parts.Index,
        };
        vcpu.Observe(parts.Trace, parts.TraceWalks);
        return vcpu;
    }
}
