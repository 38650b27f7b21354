namespace Trapline.Images;

/// <summary>A place that the system's apt fetches Debian from.</summary>
/// <param name="Location">Its address.</param>
/// <param name="Suite">Such as bookworm or bookworm-updates.</param>
/// <param name="Component">Such as main.</param>
internal sealed record AptSource(string Location, string Suite, string Component)
{
    /// <summary>As in sources.list(5).</summary>
    public string Line => $"deb {Location} {Suite} {Component}";

    /// <summary>What `apt-get indextargets` says of Debian's own archives, the release itself first.</summary>
    public static IReadOnlyList<AptSource> Parse(string targets)
    {
        List<AptSource> sources = [];
        foreach (string line in targets.Split('\n'))
        {
            if (line.Split('|') is [{ } location, { } suite, { } component, "Debian", "Packages"])
                sources.Add(new AptSource(location, suite, component));
        }
        // bookworm-updates and bookworm-security add to bookworm: a release's own name has no dash.
        return [.. sources.Distinct().OrderBy(s => s.Suite.Contains('-') ? 1 : 0)];
    }
}
