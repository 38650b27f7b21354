using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Spectre.Console;
using Trapline.Control.Api;
using Trapline.Control.Client;
using Trapline.Control.Sockets;
using Trapline.Host;

namespace Trapline.Cli.Machines;

/// <summary>`trapline list`: the machines of this user that have a name.</summary>
internal static class ListCommand
{
    private static readonly string[] Heads = ["NAME", "STATE", "ENGINE", "UPTIME", "MEMORY", "CPUS", "PID"];

    public static Command Build(TextWriter output, TextWriter errors)
    {
        Option<bool> json = new("--json") { Description = "As JSON, as GET /v1/machines has it" };
        Command command = new("list", "List your machines that have a name: trapline run --name NAME starts one") { json };
        command.SetAction(result => List(output, errors, result.GetValue(json)));
        return command;
    }

    private static int List(TextWriter output, TextWriter errors, bool json)
    {
        (IReadOnlyList<MachineInfo> machines, IReadOnlyList<string> silent) = MachineFinder.ListAsync(RuntimeDirectory.ForUser()).GetAwaiter().GetResult();
        if (json)
            output.WriteLine(JsonSerializer.Serialize(new MachineList { Machines = machines }, ApiJson.Default.MachineList));
        else if (output == Console.Out && HostTerminal.IsTerminal(1))
            WriteTable(machines);
        else
            WriteLines(output, machines);
        foreach (string name in silent)
            errors.WriteLine($"trapline: machine '{name}' does not answer");
        return ExitCodes.Success;
    }

    private static void WriteTable(IReadOnlyList<MachineInfo> machines)
    {
        Table table = new() { Border = TableBorder.Rounded };
        foreach (string head in Heads)
            table.AddColumn(head);
        foreach (MachineInfo machine in machines)
        {
            string colour = machine.State == MachineState.Running ? "green" : machine.State == MachineState.Paused ? "yellow" : "grey";
            table.AddRow([.. Cells(machine).Select((cell, i) => i == 1 ? $"[{colour}]{Markup.Escape(cell)}[/]" : Markup.Escape(cell))]);
        }
        AnsiConsole.Write(table);
    }

    /// <summary>Columns a script can cut: no colours, no frames, at least two spaces between them.</summary>
    internal static void WriteLines(TextWriter output, IReadOnlyList<MachineInfo> machines)
    {
        List<string[]> rows = [Heads, .. machines.Select(Cells)];
        int[] widths = [.. Heads.Select((_, column) => rows.Max(row => row[column].Length))];
        foreach (string[] row in rows)
            output.WriteLine(string.Join("  ", row.Select((cell, column) => cell.PadRight(widths[column]))).TrimEnd());
    }

    private static string[] Cells(MachineInfo machine) =>
    [
        machine.Name, machine.State.ToString().ToLowerInvariant(), machine.Engine, Time(machine.UptimeSeconds), Size(machine.MemoryBytes),
        machine.Vcpus.ToString(CultureInfo.InvariantCulture), machine.Pid.ToString(CultureInfo.InvariantCulture),
    ];

    /// <summary>The two largest units.</summary>
    internal static string Time(double seconds)
    {
        TimeSpan time = TimeSpan.FromSeconds(seconds);
        return time switch
        {
            { TotalMinutes: < 1 } => string.Create(CultureInfo.InvariantCulture, $"{time.Seconds}s"),
            { TotalHours: < 1 } => string.Create(CultureInfo.InvariantCulture, $"{time.Minutes}m{time.Seconds:00}s"),
            { TotalDays: < 1 } => string.Create(CultureInfo.InvariantCulture, $"{time.Hours}h{time.Minutes:00}m"),
            _ => string.Create(CultureInfo.InvariantCulture, $"{time.Days}d{time.Hours:00}h"),
        };
    }

    private static string Size(ulong bytes) => bytes % (1ul << 30) == 0
        ? string.Create(CultureInfo.InvariantCulture, $"{bytes >> 30}G")
        : bytes % (1ul << 20) == 0 ? string.Create(CultureInfo.InvariantCulture, $"{bytes >> 20}M") : string.Create(CultureInfo.InvariantCulture, $"{bytes >> 10}K");
}
