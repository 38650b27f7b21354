namespace Guest.Tests;

/// <summary>The program as its users start it: <c>./trapline</c>, compiled ahead of time. <c>./dev test</c> builds it before the tests run.</summary>
internal static class Launcher
{
    public static string Path { get; } = System.IO.Path.Combine(FindRoot(), "trapline");

    private static string FindRoot()
    {
        string? folder = AppContext.BaseDirectory;
        while (folder != null && !File.Exists(System.IO.Path.Combine(folder, "Trapline.slnx")))
            folder = System.IO.Path.GetDirectoryName(folder);
        return folder ?? throw new InvalidOperationException("Trapline.slnx is in no parent folder");
    }
}
