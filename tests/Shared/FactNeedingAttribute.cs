namespace Trapline.Testing;

/// <summary>A fact that needs programs of the host; without them it is skipped and says which is missing.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class FactNeedingAttribute : FactAttribute
{
    public FactNeedingAttribute(params string[] programs)
    {
        if (programs.FirstOrDefault(p => !IsOnPath(p)) is { } missing)
            Skip = $"the program '{missing}' is not installed";
    }

    private static bool IsOnPath(string program) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(folder => File.Exists(Path.Combine(folder, program)));
}
