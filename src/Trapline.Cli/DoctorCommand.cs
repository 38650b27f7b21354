using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Serialization;
using Trapline.Machine;
using Trapline.Network.Passt;

namespace Trapline.Cli;

/// <summary>Says what this host offers and what to do about the rest.</summary>
internal static partial class DoctorCommand
{
    public static Command Build(TextWriter output)
    {
        Option<bool> json = new("--json") { Description = "Print the findings as JSON", Arity = ArgumentArity.Zero };
        Command doctor = new("doctor", "Look at this host: engines, memory, limits, tools; exit status 0 if guests can run") { json };
        doctor.SetAction(result => Write(WithNetwork(Preflight.Run(), PasstBackend.IsInstalled, PasstBackend.FindObstacle), output, result.GetValue(json)));
        return doctor;
    }

    /// <summary>Adds whether guests have a network without being given one: passt is there, and starts for this user.</summary>
    internal static PreflightReport WithNetwork(PreflightReport report, bool isInstalled, Func<string?> findObstacle)
    {
        PreflightFinding network = !isInstalled ? new("network", PreflightState.Note, "guests have none unless they are given one", "for the user's network: apt-get install passt")
            : findObstacle() is { } obstacle ? new("network", PreflightState.Warning, $"passt cannot run here: {obstacle}", "run guests with --net none, tap=NAME or socket=NAME; passt needs user namespaces")
            : new("network", PreflightState.Good, "passt runs for this user");
        return report with { Findings = [.. report.Findings, network] };
    }

    internal static int Write(PreflightReport report, TextWriter output, bool json)
    {
        if (json)
        {
            output.WriteLine(JsonSerializer.Serialize(report, Serializer.Default.PreflightReport));
            return Status(report);
        }
        int width = report.Findings.Max(f => f.Subject.Length);
        foreach (PreflightFinding finding in report.Findings)
        {
            output.WriteLine($"{Word(finding.State),-7} {finding.Subject.PadRight(width)}  {finding.Finding}");
            if (finding.Advice is { } advice)
                output.WriteLine($"{"",-7} {"".PadRight(width)}  -> {advice}");
        }
        output.WriteLine(report.CanRun ? "guests can run here" : "guests cannot run here");
        return Status(report);
    }

    private static int Status(PreflightReport report) => report.CanRun ? ExitCodes.Success : ExitCodes.Failed;

    private static string Word(PreflightState state) => state switch
    {
        PreflightState.Good => "ok",
        PreflightState.Note => "note",
        PreflightState.Warning => "warning",
        _ => "BAD",
    };

    [JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, WriteIndented = true, UseStringEnumConverter = true)]
    [JsonSerializable(typeof(PreflightReport))]
    private sealed partial class Serializer : JsonSerializerContext;
}
