using System.Diagnostics;

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
        (int status, _, string errors) = await RunAsync(["run", "--timeout", "1s", "--", "true"], "");
        Assert.Equal(124, status);
        Assert.Single(errors.Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }

    [GuestFact]
    public async Task ACommandThatPowersOffEndsWell() => Assert.Equal(0, (await RunAsync(["run", "--", "poweroff", "-f"], "")).Status);

    private static async Task<(int Status, string Output, string Errors)> RunAsync(string[] arguments, string input)
    {
        string program = Path.Combine(AppContext.BaseDirectory, "Trapline.Cli.dll");
        using Process process = Process.Start(new ProcessStartInfo("dotnet", [program, .. arguments])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> errors = process.StandardError.ReadToEndAsync();
        await process.StandardInput.WriteAsync(input);
        process.StandardInput.Close();
        using CancellationTokenSource limit = new(TimeSpan.FromMinutes(5));
        await process.WaitForExitAsync(limit.Token);
        return (process.ExitCode, await output, await errors);
    }
}
