using System.Diagnostics;
using Trapline.Core;

namespace Trapline.Bench;

/// <summary>What a run gave: the results by name, and how long the start and the whole took.</summary>
internal sealed record RunResult(IReadOnlyList<Measurement> Measurements, double FirstLine, double Whole, string Tail);

/// <summary>One of those compared: a program to start, whose output is a console with result lines in it.</summary>
/// <param name="Name">In the table.</param>
/// <param name="Command">The program and its arguments, given the initramfs.</param>
internal sealed record Contender(string Name, Func<string, IReadOnlyList<string>> Command)
{
    private const int KeptLines = 20;

    /// <exception cref="BadInputException">It ended without its end mark, or took too long.</exception>
    public async Task<RunResult> RunAsync(string image, TimeSpan timeout, Action<Measurement> heard)
    {
        IReadOnlyList<string> command = Command(image);
        Stopwatch clock = Stopwatch.StartNew();
        using Process process = Process.Start(new ProcessStartInfo(command[0], command.Skip(1))
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        process.StandardInput.Close();
        Queue<string> last = new();
        List<Measurement> measurements = [];
        double first = 0;
        bool ended = false;
        void Hear(string line)
        {
            if (line.Contains(BenchImage.Begin, StringComparison.Ordinal))
                first = clock.Elapsed.TotalMilliseconds;
            ended |= line.Contains(BenchImage.End, StringComparison.Ordinal);
            if (Measurement.TryParse(line) is { } measurement)
            {
                measurements.Add(measurement);
                heard(measurement);
            }
            last.Enqueue(line);
            if (last.Count > KeptLines)
                last.Dequeue();
        }
        using CancellationTokenSource limit = new(timeout);
        Task<string> errors = process.StandardError.ReadToEndAsync(CancellationToken.None);
        try
        {
            while (await process.StandardOutput.ReadLineAsync(limit.Token).ConfigureAwait(false) is { } line)
                Hear(line);
            await process.WaitForExitAsync(limit.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            throw new BadInputException($"{Name} took longer than {timeout.TotalSeconds:F0} s: give --scale or --timeout\n{string.Join('\n', last)}");
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
        if (!ended)
            throw new BadInputException($"{Name} ended before its work did:\n{string.Join('\n', last)}\n{await errors.ConfigureAwait(false)}");
        return new RunResult(measurements, first, clock.Elapsed.TotalMilliseconds, string.Join('\n', last) + "\n" + await errors.ConfigureAwait(false));
    }
}
