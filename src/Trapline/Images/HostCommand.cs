using System.ComponentModel;
using System.Diagnostics;
using Trapline.Core;

namespace Trapline.Images;

internal sealed record HostCommandResult(int ExitCode, string Output, string Errors)
{
    /// <summary>What the program complained about, in one line.</summary>
    public string Complaint
    {
        get
        {
            string[] lines = [.. Errors.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)];
            string line = lines.FirstOrDefault(l => l.StartsWith("E:", StringComparison.Ordinal))
                ?? lines.FirstOrDefault(l => l.StartsWith("W:", StringComparison.Ordinal))
                ?? lines.LastOrDefault() ?? $"exit status {ExitCode}";
            return (line.StartsWith("E:", StringComparison.Ordinal) || line.StartsWith("W:", StringComparison.Ordinal) ? line[2..] : line).Trim();
        }
    }
}

/// <summary>Runs a program of the host and gathers what it says.</summary>
internal static class HostCommand
{
    /// <exception cref="BadInputException">The program is not installed.</exception>
    public static async Task<HostCommandResult> RunAsync(
        string program, IEnumerable<string> arguments, string? directory, CancellationToken cancellation)
    {
        using Process process = Start(program, arguments, directory);
        Task<string> output = process.StandardOutput.ReadToEndAsync(CancellationToken.None);
        Task<string> errors = process.StandardError.ReadToEndAsync(CancellationToken.None);
        try
        {
            await process.WaitForExitAsync(cancellation).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            await process.WaitForExitAsync(CancellationToken.None).ConfigureAwait(false);
            throw;
        }
        return new HostCommandResult(process.ExitCode, await output.ConfigureAwait(false), await errors.ConfigureAwait(false));
    }

    /// <summary>Starts a program with its output and errors as pipes.</summary>
    public static Process Start(string program, IEnumerable<string> arguments, string? directory)
    {
        ProcessStartInfo info = new(program, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = directory ?? "",
        };
        info.Environment["LC_ALL"] = "C";
        try
        {
            Process process = Process.Start(info)!;
            process.StandardInput.Close();
            return process;
        }
        catch (Win32Exception)
        {
            throw new BadInputException(
                $"'{program}' is not installed: the default guest comes from Debian packages; install apt and dpkg, or give --kernel FILE and --initrd FILE");
        }
    }
}
