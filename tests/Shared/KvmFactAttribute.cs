using Trapline.Kvm;

namespace Trapline.Testing;

/// <summary>A fact that needs the host's KVM; without it, it is skipped and says why.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class KvmFactAttribute : FactAttribute
{
    /// <param name="hardware">The kernel's emulator, all that a host without hardware has, cannot do it.</param>
    /// <param name="lacking">What it cannot do.</param>
    public KvmFactAttribute(bool hardware = false, string lacking = KvmObstacle.Instructions) => Skip = KvmObstacle.Find(hardware, lacking);
}

/// <summary>A theory that needs the host's KVM.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class KvmTheoryAttribute : TheoryAttribute
{
    public KvmTheoryAttribute(bool hardware = false) => Skip = KvmObstacle.Find(hardware, KvmObstacle.Instructions);
}

internal static class KvmObstacle
{
    public const string Instructions = "these instructions";

    private static readonly string? Text = Look();

    /// <summary>Null if KVM can be used.</summary>
    public static string? Find(bool hardware, string lacking) => Text
        ?? (hardware && !KvmProbe.ProcessorHasHardware ? $"this host's KVM has no hardware under it, and its emulator lacks {lacking}" : null);

    private static string? Look()
    {
        using KvmDevice? device = KvmDevice.TryOpen(out string? obstacle);
        return obstacle;
    }
}
