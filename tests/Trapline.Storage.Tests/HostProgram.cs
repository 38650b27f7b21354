using System.Diagnostics;

namespace Trapline.Storage.Tests;

/// <summary>A program of the host, such as qemu-img.</summary>
internal sealed class HostProgram : IDisposable
{
    private readonly Process _process;

    private HostProgram(Process process) => _process = process;

    /// <summary>Runs to its end.</summary>
    public static async Task<(int Status, string Output)> RunAsync(string program, params string[] arguments)
    {
        using Process process = Process.Start(Settings(program, arguments))!;
        process.StandardInput.Close();
        Task<string> output = process.StandardOutput.ReadToEndAsync(), errors = process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, await output + await errors);
    }

    /// <summary>Runs to its end, which has to be a good one.</summary>
    public static async Task<string> MustAsync(string program, params string[] arguments)
    {
        (int status, string output) = await RunAsync(program, arguments);
        Assert.True(status == 0, $"{program} {string.Join(' ', arguments)}: status {status}: {output}");
        return output;
    }

    public static HostProgram Start(string program, params string[] arguments) => new(Process.Start(Settings(program, arguments))!);

    /// <summary>Writes a line to it and waits for a line that contains the answer.</summary>
    public async Task AskAsync(string line, string answer)
    {
        await _process.StandardInput.WriteLineAsync(line);
        await _process.StandardInput.FlushAsync();
        using CancellationTokenSource patience = new(TimeSpan.FromSeconds(30));
        while (await _process.StandardOutput.ReadLineAsync(patience.Token) is { } read)
        {
            if (read.Contains(answer, StringComparison.Ordinal))
                return;
        }
        Assert.Fail($"it ended without '{answer}'");
    }

    public void Dispose()
    {
        _process.Kill();
        _process.WaitForExit();
        _process.Dispose();
    }

    private static ProcessStartInfo Settings(string program, string[] arguments) =>
        new(program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
}
