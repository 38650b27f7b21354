using System.Globalization;
using System.Runtime.InteropServices;
using Trapline.Cpu;
using Trapline.Kvm;

namespace Trapline.Machine;

/// <summary>Looks at everything of the host that decides whether and how well guests run. Changes nothing.</summary>
public static class Preflight
{
    /// <summary>Takes some milliseconds, most of them for measuring KVM.</summary>
    public static PreflightReport Run()
    {
        KvmSpeed? speed = KvmProbe.Measure(out string? obstacle);
        EngineChoice engine = Engines.Choose(KvmProbe.ProcessorHasHardware, () => (speed, obstacle));
        return new PreflightReport(engine,
        [
            Host(),
            new("engine", PreflightState.Good, $"'auto' takes {engine.Name}: {engine.Why}"),
            Kvm(speed, obstacle),
            Translator(),
            .. HostMemory.Findings(),
            .. HostLimits.Findings(),
            AsynchronousFiles(HostFile.Read("/proc/sys/kernel/io_uring_disabled")),
            .. HostTools.Findings(),
        ]);
    }

    private static PreflightFinding Host() =>
        OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64
            ? new("host", PreflightState.Good, $"{RuntimeInformation.OSDescription}, {Environment.ProcessorCount} processors")
            : new("host", PreflightState.Bad, $"{RuntimeInformation.OSDescription} on {RuntimeInformation.ProcessArchitecture}", "use Linux on x86-64");

    private static PreflightFinding Kvm(KvmSpeed? speed, string? obstacle)
    {
        if (speed is not { } figures)
        {
            string[] parts = obstacle!.Split(": ", 2);
            return new("KVM", PreflightState.Note, parts[0], parts.Length > 1 ? parts[1] : null);
        }
        string text = string.Create(CultureInfo.InvariantCulture, $"{figures.NanosecondsPerInstruction:F2} ns an instruction, {figures.MicrosecondsPerExit:F1} us an exit");
        return figures.IsFast
            ? new("KVM", PreflightState.Good, $"works and is fast: {text}")
            : new("KVM", PreflightState.Note, $"works but is slow: {text}", KvmProbe.ProcessorHasHardware
                ? "look for something else that keeps this host busy"
                : "enable virtualization (VMX or SVM) in the firmware, or for the virtual machine that this host is; until then use the translator");
    }

    /// <param name="disabled">The kernel's setting: 0, allowed to all; 1, to some; 2, to nobody (admin-guide/sysctl/kernel.rst).</param>
    internal static PreflightFinding AsynchronousFiles(string? disabled) => disabled?.Trim() switch
    {
        null => new("io_uring", PreflightState.Note, "the host's kernel does not have it, or is older than 6.6; nothing needs it yet: disks use threads"),
        "0" => new("io_uring", PreflightState.Good, "can be used; nothing needs it yet: disks use threads"),
        var setting => new("io_uring", PreflightState.Note, $"is switched off (kernel.io_uring_disabled = {setting}); nothing needs it yet: disks use threads"),
    };

    private static PreflightFinding Translator() => SoftwareVcpu.TranslatorObstacle is { } obstacle
        ? new("translator", PreflightState.Warning, obstacle, "guests run on the interpreter, some ten times slower")
        : new("translator", PreflightState.Good, "can run here");
}
