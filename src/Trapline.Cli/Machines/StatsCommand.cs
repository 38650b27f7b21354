using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Trapline.Control.Api;
using Trapline.Control.Client;
using Trapline.Host;

namespace Trapline.Cli.Machines;

/// <summary>`trapline stats`: what a machine has done, once or as it goes.</summary>
internal static class StatsCommand
{
    private const int ExitLines = 15;

    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    public static Command Build(TextWriter output, TextWriter errors)
    {
        Argument<string> name = MachineArgument.Create();
        Option<bool> watch = new("--watch") { Description = "Every second, with what happened in it, until the machine ends or you press Ctrl-C" };
        Option<bool> json = new("--json") { Description = "As JSON, as GET /v1/machines/NAME/stats has it" };
        Command command = new("stats", "Show what a machine has done: instructions, exits by reason, time halted") { name, watch, json };
        command.SetAction(result => MachineArgument.Ask(result.GetValue(name)!, errors, client =>
            ShowAsync(output, client, result.GetValue(name)!, result.GetValue(watch), result.GetValue(json))));
        return command;
    }

    private static async Task<int> ShowAsync(TextWriter output, ControlClient client, string name, bool watch, bool json)
    {
        bool terminal = output == Console.Out && HostTerminal.IsTerminal(1);
        MachineReport? before = null;
        while (true)
        {
            MachineReport now;
            try
            {
                now = await client.ReportAsync(name).ConfigureAwait(false);
            }
            catch (ControlException) when (before != null)
            {
                return ExitCodes.Success; // it has ended, and that is when watching does
            }
            if (watch && terminal && !json)
                output.Write("\e[H\e[J");
            output.WriteLine(json ? JsonSerializer.Serialize(now, ApiJson.Default.MachineReport) : Lines(now, before));
            output.Flush();
            if (!watch)
                return ExitCodes.Success;
            before = now;
            await Task.Delay(Interval).ConfigureAwait(false);
        }
    }

    /// <summary>One block of lines; what has come since <paramref name="before"/>, if there is one.</summary>
    internal static string Lines(MachineReport now, MachineReport? before)
    {
        // A reset begins the counts anew.
        if (before != null && (now.GuestSeconds < before.GuestSeconds || now.Vcpus.Count != before.Vcpus.Count || now.Vcpus[0].Instructions < before.Vcpus[0].Instructions || now.Vcpus[0].SeesEverything != before.Vcpus[0].SeesEverything))
            before = null;
        double seconds = now.GuestSeconds - (before?.GuestSeconds ?? 0);
        List<string> lines = [before == null ? Line($"guest {now.GuestSeconds:F1} s") : Line($"guest {now.GuestSeconds:F1} s, the last {seconds:F1} s:")];
        for (int i = 0; i < now.Vcpus.Count; i++)
        {
            VcpuReport v = now.Vcpus[i];
            VcpuReport? b = before?.Vcpus[i];
            double halted = v.HaltedSeconds - (b?.HaltedSeconds ?? 0);
            double busy = Math.Max(1e-9, seconds - halted);
            long instructions = v.Instructions - (b?.Instructions ?? 0);
            if (!v.SeesEverything)
            {
                lines.Add(Line($"vcpu {v.Index}: {instructions} instructions that left the guest, {v.Interrupts - (b?.Interrupts ?? 0)} interrupts, {v.Halts - (b?.Halts ?? 0)} halts, {halted:F3} s halted"));
                continue;
            }
            lines.Add(Line($"vcpu {v.Index}: {instructions} instructions, {instructions / busy / 1e6:F1} MIPS while running, {v.Halts - (b?.Halts ?? 0)} halts, {halted:F3} s halted"));
            lines.Add(Line($"vcpu {v.Index}: {v.PageWalks - (b?.PageWalks ?? 0)} page walks, {v.PageFaults - (b?.PageFaults ?? 0)} page faults, {v.Exceptions - (b?.Exceptions ?? 0)} exceptions, {v.Interrupts - (b?.Interrupts ?? 0)} interrupts"));
        }
        if (now.Balloon is { } balloon)
            lines.Add(Line($"balloon: {balloon.ActualBytes >> 20} MiB of {balloon.TargetBytes >> 20} MiB, {balloon.ReleasedBytes >> 20} MiB given back so far"));
        Dictionary<(string, string), long> earlier = before?.Exits.ToDictionary(e => (e.Kind, e.Target), e => e.Count) ?? [];
        var exits = now.Exits.Select(e => (e.Kind, e.Target, Count: e.Count - earlier.GetValueOrDefault((e.Kind, e.Target)))).Where(e => e.Count > 0)
            .OrderByDescending(e => e.Count).ToList();
        lines.Add(Line($"exits {exits.Sum(e => e.Count)}"));
        lines.AddRange(exits.Take(ExitLines).Select(e => Line($"  {e.Count,10}  {e.Kind,-13} {e.Target}")));
        if (exits.Count > ExitLines)
            lines.Add(Line($"  and {exits.Count - ExitLines} more kinds"));
        return string.Join('\n', lines);
    }

    private static string Line(FormattableString line) => line.ToString(CultureInfo.InvariantCulture);
}
