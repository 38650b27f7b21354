using System.Diagnostics;
using System.Globalization;

namespace Trapline.Bench;

/// <summary>One of the machines that are compared: how it is started with a kernel, an initramfs and two disks.</summary>
internal sealed record Contender(string Name, IReadOnlyList<string> Command)
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);

    /// <summary>Runs the guest to its end; each result is heard by its name and value.</summary>
    public async Task RunAsync(Action<string, double> heard)
    {
        using Process process = Process.Start(new ProcessStartInfo(Command[0], Command.Skip(1)) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        process.StandardInput.Close();
        using CancellationTokenSource limit = new(Patience);
        bool ended = false;
        Queue<string> last = new();
        while (await process.StandardOutput.ReadLineAsync(limit.Token) is { } line)
        {
            string[] words = line[Math.Max(line.IndexOf("trapline-io ", StringComparison.Ordinal), 0)..].Split(' ', StringSplitOptions.TrimEntries);
            ended |= words is ["trapline-io", "end"];
            if (words is ["trapline-io", string disk, string workload, string value])
                heard($"{disk} {workload}", double.Parse(value, CultureInfo.InvariantCulture));
            last.Enqueue(line);
            if (last.Count > 10)
                last.Dequeue();
        }
        await process.WaitForExitAsync(limit.Token);
        if (!ended)
            throw new InvalidOperationException($"{Name} ended early:\n{string.Join('\n', last)}");
    }
}
