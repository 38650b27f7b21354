using System.Xml.Linq;
using Trapline.Testing;

namespace Architecture.Tests;

/// <summary>The source tree that these tests were built from.</summary>
internal static class Repository
{
    public static string Root => SourceTree.Root;

    /// <summary>Every project under src/ or tests/, by name.</summary>
    public static IReadOnlyDictionary<string, XDocument> Projects(string folder) =>
        Directory.GetFiles(Path.Combine(Root, folder), "*.csproj", SearchOption.AllDirectories)
            .ToDictionary(f => Path.GetFileNameWithoutExtension(f), XDocument.Load);
}
