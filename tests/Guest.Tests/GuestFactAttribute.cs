using Trapline.Core;
using Trapline.Images;
using Trapline.Machine;

namespace Guest.Tests;

/// <summary>A fact that boots the default guest. Without an engine or the guest's packages it is skipped and says why.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class GuestFactAttribute : FactAttribute
{
    private static readonly Lazy<string?> Obstacle = new(FindObstacle);

    public GuestFactAttribute()
    {
        Skip = Obstacle.Value;
    }

    private static string? FindObstacle()
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
