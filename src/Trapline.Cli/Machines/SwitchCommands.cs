using System.CommandLine;
using Trapline.Control.Api;

namespace Trapline.Cli.Machines;

/// <summary>The commands that press one of a machine's switches: pause, resume, reset, power-button, nmi.</summary>
internal static class SwitchCommands
{
    public static IEnumerable<Command> Build(TextWriter output, TextWriter errors)
    {
        yield return One("pause", Routes.Pause, "Stop a machine's CPUs and its time: trapline pause NAME");
        yield return One("resume", Routes.Resume, "Let a paused machine go on: trapline resume NAME");
        yield return One("reset", Routes.Reset, "Reset a machine, as its reset button does; one that runs a command ends");
        yield return One("power-button", Routes.PowerButton, "Press a machine's power button: a guest that listens shuts itself down");
        yield return One("nmi", Routes.Nmi, "Send a non-maskable interrupt to a machine's CPUs, for guests that show then where they are");

        Command One(string verb, string route, string description)
        {
            Argument<string> name = MachineArgument.Create();
            Command command = new(verb, description) { name };
            command.SetAction(result => MachineArgument.Ask(result.GetValue(name)!, errors, async client =>
            {
                MachineInfo machine = await client.SwitchAsync(route, result.GetValue(name)!).ConfigureAwait(false);
                output.WriteLine($"{machine.Name} is {machine.State.ToString().ToLowerInvariant()}");
                return ExitCodes.Success;
            }));
            return command;
        }
    }
}
