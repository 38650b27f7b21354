namespace Trapline.Machine;

/// <summary>Programs of the host that Trapline starts, and what each is for.</summary>
internal static class HostTools
{
    private static readonly (string Program, string For, string Package)[] Known =
    [
        ("gcc", "building the default guest's init from the sources", "gcc"),
        ("apt-get", "fetching the default guest's packages", "apt"),
        ("dpkg-deb", "unpacking them", "dpkg"),
        ("qemu-img", "making disk images to compare with", "qemu-utils"),
        ("passt", "networks without privileges", "passt"),
    ];

    public static IEnumerable<PreflightFinding> Findings() =>
        Find(Environment.GetEnvironmentVariable("PATH") ?? "");

    internal static IEnumerable<PreflightFinding> Find(string path)
    {
        foreach ((string program, string purpose, string package) in Known)
        {
            string? found = path.Split(':', StringSplitOptions.RemoveEmptyEntries).Select(folder => Path.Combine(folder, program)).FirstOrDefault(File.Exists);
            yield return found != null
                ? new(program, PreflightState.Good, found)
                : new(program, PreflightState.Note, $"not installed; it is for {purpose}", $"Debian: apt-get install {package}");
        }
    }
}
