using System.CommandLine;
using Trapline.Cli.Options;
using Trapline.Control.Api;
using Trapline.Core;

namespace Trapline.Cli.Machines;

/// <summary>`trapline stop`: ends a machine, politely first.</summary>
internal static class StopCommand
{
    public static Command Build(TextWriter output, TextWriter errors)
    {
        Argument<string> name = MachineArgument.Create();
        Option<bool> force = new("--force") { Description = "At once, as pulling the plug does" };
        Option<string> patience = new("--patience") { Description = "How long the guest may take to switch itself off before it is stopped: seconds, or with ms, s, m, h [default: 20s]", HelpName = "TIME" };
        Command command = new("stop", "Have a machine's guest switch itself off, and stop it if it does not: trapline stop NAME") { name, force, patience };
        command.SetAction(result =>
        {
            double seconds = result.GetValue(patience) is { } text ? Quantity.ParseTime("--patience", text).TotalSeconds : StopRequest.DefaultPatience;
            if (seconds > StopRequest.LongestPatience)
                throw new BadInputException($"--patience '{result.GetValue(patience)}' is too long: use at most 1h");
            StopRequest request = new() { Force = result.GetValue(force), PatienceSeconds = seconds };
            return MachineArgument.Ask(result.GetValue(name)!, errors, async client =>
            {
                MachineEnded ended = await client.StopAsync(result.GetValue(name)!, request).ConfigureAwait(false);
                output.WriteLine($"{result.GetValue(name)} has ended: {ended.Reason}");
                return ExitCodes.Success;
            });
        });
        return command;
    }
}
