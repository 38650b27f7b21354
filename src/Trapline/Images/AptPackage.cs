namespace Trapline.Images;

/// <summary>A package as the archive's index describes it.</summary>
internal sealed record AptPackage(string Name, string Version, long Size, string Depends)
{
    /// <summary>Reads the first stanza of <c>apt-cache show</c>, the newest version; null if there is none.</summary>
    public static AptPackage? Parse(string stanzas)
    {
        Dictionary<string, string> fields = [];
        foreach (string line in stanzas.Split('\n'))
        {
            if (line.Length == 0 && fields.Count > 0)
                break;
            if (line.Length > 0 && !char.IsWhiteSpace(line[0]) && line.Split(':', 2) is [string name, string value])
                fields[name] = value.Trim();
        }
        return fields.TryGetValue("Package", out string? package) && fields.TryGetValue("Version", out string? version)
            ? new AptPackage(package, version, long.TryParse(fields.GetValueOrDefault("Size"), out long size) ? size : -1,
                string.Join(',', new[] { "Depends", "Pre-Depends" }.Select(f => fields.GetValueOrDefault(f, "")).Where(d => d.Length > 0)))
            : null;
    }

    /// <summary>The names of all dependencies; of alternatives, the first.</summary>
    public IEnumerable<string> Dependencies =>
        Depends.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Select(d => d.Split(' ', '(', '|', ':')[0]);

    /// <summary>The name of the first dependency that begins so, or null.</summary>
    public string? Dependency(string prefix) => Dependencies.FirstOrDefault(d => d.StartsWith(prefix, StringComparison.Ordinal));
}
