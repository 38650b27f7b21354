using Trapline.Testing;

namespace Guest.Tests;

/// <summary>The program as its users start it: <c>./trapline</c>, compiled ahead of time. <c>./dev test</c> builds it before the tests run.</summary>
internal static class Launcher
{
    public static string Path { get; } = System.IO.Path.Combine(SourceTree.Root, "trapline");
}
