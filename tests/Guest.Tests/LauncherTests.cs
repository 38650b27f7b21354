using System.Diagnostics;
using Trapline.Cpu;
using Trapline.Testing;

namespace Guest.Tests;

/// <summary>The command line from outside: a process with its streams and its exit status.</summary>
[Collection("guests")]
public sealed class LauncherTests
{
    [GuestTheory]
    [InlineData("interpreter")]
    [InlineData("translator")]
    public async Task RunGivesOutputErrorsAndStatus(string engine)
    {
        (int status, string output, string errors) = await RunAsync(["run", "--engine", engine, "--", "sh", "-c", "cat; echo err >&2; exit 7"], "in");
        Assert.Equal("in", output);
        Assert.Equal("err\n", errors);
        Assert.Equal(7, status);
    }

    [GuestTheory]
    [InlineData("interpreter")]
    [InlineData("translator")]
    public async Task PanicHasItsStatusAndAReason(string engine)
    {
        (int status, _, string errors) = await RunAsync(["run", "--engine", engine, "--", "sh", "-c", "echo c > /proc/sysrq-trigger"], "");
        Assert.Equal(71, status);
        Assert.Contains("panic", errors.Split('\n', StringSplitOptions.RemoveEmptyEntries)[^1]);
    }

    [GuestTheory]
    [InlineData("interpreter")]
    [InlineData("translator")]
    public async Task AGuestThatHaltsForGoodEndsWithAReason(string engine)
    {
        (int status, _, string errors) = await RunAsync(["run", "--engine", engine, "--", "halt", "-f"], "");
        Assert.Equal(73, status);
        Assert.Contains("halted with interrupts off", errors.Split('\n', StringSplitOptions.RemoveEmptyEntries)[^1]);
    }

    [GuestFact]
    public async Task TimeoutHasItsStatus()
    {
        (int status, _, string errors) = await RunAsync(["run", "--timeout", "1s", "--", "sleep", "60"], "");
        Assert.Equal(124, status);
        Assert.Single(errors.Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }

    [GuestFact]
    public async Task TheTranslatorCanBeWatched()
    {
        using TemporaryDirectory directory = new();
        string file = directory.File("trace");
        (int status, _, string errors) = await RunAsync(["run", "--stats", "--code-cache", "2M", "--trace", "translate,exceptions,walks:" + file, "--", "true"], "");
        Assert.Equal(0, status);
        string trace = await File.ReadAllTextAsync(file);
        Assert.Contains(" walk GVA 0x", trace);
        Assert.Contains(" #PF (vector 14) ", trace);
        if (SoftwareVcpu.TranslatorObstacle != null)
            return;
        Assert.Matches(@"\d cpu0 translated 0x[0-9a-f]+ kernel hoisted: \d+ instructions, \d+ bytes to \d+ at 0x", trace);
        Assert.Contains(" cpu0 dropped 0x", trace);
        Assert.Matches(@"time +[0-9.]+ s +[0-9.]+%  translated code\n", errors);
        Assert.Matches(@"jump cache +\d+  exits", errors);
    }

    [GuestFact]
    public async Task WithoutTheTranslatorTheInterpreterTakesOverAndSaysSo()
    {
        // The switch is the just-in-time compiler's.
        ProcessStartInfo start = new("dotnet", [Path.Combine(AppContext.BaseDirectory, "Trapline.Cli.dll"), "run", "--", "echo", "here"]);
        start.Environment["DOTNET_EnableAVX"] = "0";
        (int status, string output, string errors) = await RunAsync(start, "");
        Assert.Equal((0, "here\n"), (status, output));
        Assert.Matches("^trapline: the interpreter runs this machine, not the translator: [^\n]+\n$", errors);
    }

    [GuestFact]
    public async Task ACommandThatPowersOffEndsWell() => Assert.Equal(0, (await RunAsync(["run", "--", "poweroff", "-f"], "")).Status);

    internal static Task<(int Status, string Output, string Errors)> RunAsync(string[] arguments, string input) =>
        RunAsync(new ProcessStartInfo(Launcher.Path, arguments), input);

    private static async Task<(int Status, string Output, string Errors)> RunAsync(ProcessStartInfo start, string input)
    {
        start.RedirectStandardInput = start.RedirectStandardOutput = start.RedirectStandardError = true;
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> errors = process.StandardError.ReadToEndAsync();
        await process.StandardInput.WriteAsync(input);
        process.StandardInput.Close();
        using CancellationTokenSource limit = new(TimeSpan.FromMinutes(5));
        await process.WaitForExitAsync(limit.Token);
        return (process.ExitCode, await output, await errors);
    }
}
