using System.CommandLine;
using System.Globalization;
using Trapline.Cli.Options;
using Trapline.Control.Api;
using Trapline.Machine;

namespace Trapline.Cli.Machines;

/// <summary>The commands that move a machine's state: to another engine, to a file, memory back to the host.</summary>
internal static class StateCommands
{
    public static Command BuildEngine(TextWriter output, TextWriter errors)
    {
        Argument<string> name = MachineArgument.Create();
        Argument<string> engine = new("engine") { Description = $"One of {string.Join(", ", Engines.Names)}", HelpName = "ENGINE" };
        engine.CompletionSources.Add([.. Engines.Names]);
        Command command = new("engine", "Have another engine run a machine from here on; its guest does not notice: trapline engine NAME interpreter") { name, engine };
        command.SetAction(result => MachineArgument.Ask(result.GetValue(name)!, errors, async client =>
        {
            EngineSwitched switched = await client.SwitchEngineAsync(result.GetValue(name)!, new EngineRequest { Engine = result.GetValue(engine)! }).ConfigureAwait(false);
            output.WriteLine($"{result.GetValue(name)} runs on the {switched.Engine}; it stood for {Milliseconds(switched.PauseSeconds)}");
            return ExitCodes.Success;
        }));
        return command;
    }

    public static Command BuildSave(TextWriter output, TextWriter errors)
    {
        Argument<string> name = MachineArgument.Create();
        Argument<string> file = new("file") { Description = "Where to", HelpName = "FILE" };
        Command command = new("save", "Save a machine to a file, and let it go on: trapline save NAME FILE") { name, file };
        command.SetAction(result => MachineArgument.Ask(result.GetValue(name)!, errors, async client =>
        {
            MachineSaved saved = await client.SaveAsync(result.GetValue(name)!, new SaveRequest { Path = Path.GetFullPath(result.GetValue(file)!) }).ConfigureAwait(false);
            output.WriteLine($"{result.GetValue(name)} is saved; it stood for {Milliseconds(saved.PauseSeconds)}");
            return ExitCodes.Success;
        }));
        return command;
    }

    public static Command BuildBalloon(TextWriter output, TextWriter errors)
    {
        Argument<string> name = MachineArgument.Create();
        Argument<string> size = new("size") { Description = "What the guest is to do without, such as 128M; 0 gives all back", HelpName = "SIZE" };
        Command command = new("balloon", "Have a guest do without some of its memory, which goes back to the host: trapline balloon NAME 128M") { name, size };
        command.SetAction(result =>
        {
            ulong bytes = Quantity.ParseAmount("SIZE", result.GetValue(size)!);
            return MachineArgument.Ask(result.GetValue(name)!, errors, async client =>
            {
                BalloonReport report = await client.SetBalloonAsync(result.GetValue(name)!, new BalloonRequest { Bytes = bytes }).ConfigureAwait(false);
                output.WriteLine($"{result.GetValue(name)} is asked to do without {report.TargetBytes >> 20} MiB; trapline stats {result.GetValue(name)} says how far it is");
                return ExitCodes.Success;
            });
        });
        return command;
    }

    private static string Milliseconds(double seconds) => string.Create(CultureInfo.InvariantCulture, $"{seconds * 1000:F1} ms");
}
