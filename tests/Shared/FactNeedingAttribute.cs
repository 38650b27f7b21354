namespace Trapline.Testing;

/// <summary>A fact that needs programs of the host; without them it is skipped and says which is missing.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class FactNeedingAttribute : FactAttribute
{
    public FactNeedingAttribute(params string[] programs)
    {
        Skip = Obstacle(programs);
    }

    /// <summary>Which program is missing, in words; null if none is.</summary>
    internal static string? Obstacle(IEnumerable<string> programs) =>
        programs.FirstOrDefault(p => !IsOnPath(p)) is { } missing ? $"the program '{missing}' is not installed" : null;

    private static bool IsOnPath(string program) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(folder => File.Exists(Path.Combine(folder, program)));
}
