using Trapline.Core;
using Trapline.Images;
using Trapline.Machine;
using Trapline.Testing;

namespace Guest.Tests;

/// <summary>A fact that boots the default guest. Without an engine or the guest's packages it is skipped and says why.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class GuestFactAttribute : FactAttribute
{
    public GuestFactAttribute()
    {
        Skip = DefaultGuestPackages.Obstacle.Value;
    }
}

/// <summary>The same for a theory.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class GuestTheoryAttribute : TheoryAttribute
{
    /// <param name="programs">Programs of the host that the test uses.</param>
    public GuestTheoryAttribute(params string[] programs)
    {
        Skip = FactNeedingAttribute.Obstacle(programs) ?? DefaultGuestPackages.Obstacle.Value;
    }
}

/// <summary>Fetches the default guest once, and knows what stood in the way.</summary>
internal static class DefaultGuestPackages
{
    public static readonly Lazy<string?> Obstacle = new(Find);

    private static string? Find()
    {
        try
        {
            Engines.Find(Engines.Default);
            using CancellationTokenSource limit = new(TimeSpan.FromMinutes(5));
            GuestImageStore.ForUser().GetAsync(null, limit.Token).GetAwaiter().GetResult();
            return null;
        }
        catch (Exception e) when (e is BadInputException or OperationCanceledException or NotImplementedException)
        {
            return e.Message;
        }
    }
}
