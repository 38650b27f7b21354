using Trapline.Kvm;

namespace Trapline.Testing;

/// <summary>A fact that needs the host's KVM; without it, it is skipped and says why.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class KvmFactAttribute : FactAttribute
{
    public KvmFactAttribute() => Skip = KvmObstacle.Text;
}

/// <summary>A theory that needs the host's KVM.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class KvmTheoryAttribute : TheoryAttribute
{
    public KvmTheoryAttribute() => Skip = KvmObstacle.Text;
}

internal static class KvmObstacle
{
    /// <summary>Null if KVM can be used.</summary>
    public static string? Text { get; } = Look();

    private static string? Look()
    {
        using KvmDevice? device = KvmDevice.TryOpen(out string? obstacle);
        return obstacle;
    }
}
