using Trapline.Core;
using Trapline.Cpu;
using Trapline.Cpu.Translator;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Machine;

/// <summary>What an engine is given for one vCPU.</summary>
public sealed record EngineParts(
    int Index, int Count, GuestMemory Memory, CpuModel Model, IIoSeam Io, IInterruptSource Interrupts, IGuestClock Clock)
{
    /// <summary>Who wants to see exceptions; null for nobody.</summary>
    public IEngineTrace? Trace { get; init; }

    /// <summary>Whether <see cref="Trace"/> wants page walks too.</summary>
    public bool TraceWalks { get; init; }
}

/// <summary>Makes the engine of one vCPU.</summary>
public delegate IVcpuEngine EngineFactory(EngineParts parts);

/// <summary>The engines by name: the one place that picks one.</summary>
public static class Engines
{
    public const string Default = "interpreter";

    public static IReadOnlyList<string> Names { get; } = ["translator", "interpreter", "verify"];

    /// <exception cref="BadInputException">No engine has this name.</exception>
    public static EngineFactory Find(string name) => name switch
    {
        "interpreter" => Software,
        "translator" => parts =>
        {
            SoftwareVcpu vcpu = Software(parts);
            vcpu.EnableTranslator(new TranslatorOptions());
            return vcpu;
        },
        "verify" => parts =>
        {
            if (parts.Count > 1)
                throw new BadInputException("engine 'verify' compares the work of one vCPU; this machine has more");
            SoftwareVcpu vcpu = Software(parts);
            if (!vcpu.EnableLockstep(new TranslatorOptions()))
                throw new BadInputException($"engine 'verify': {SoftwareVcpu.TranslatorObstacle}");
            return vcpu;
        },
        _ => throw new BadInputException($"unknown engine '{name}': use one of {string.Join(", ", Names)}"),
    };

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
