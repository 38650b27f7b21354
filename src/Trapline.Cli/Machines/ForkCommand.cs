using System.CommandLine;
using System.Globalization;
using Trapline.Control.Api;
using Trapline.Core;

namespace Trapline.Cli.Machines;

/// <summary>`trapline fork`: running clones of a machine, in the process that runs it.</summary>
internal static class ForkCommand
{
    public const string Examples = """
        Examples:
          trapline run --name warm --idle &         a guest that is prepared once
          trapline exec warm -- sh prepare.sh
          trapline fork warm -n 8 --name task       task-1 to task-8: each has all of it, and its own from here on
          trapline exec task-3 -- sh work.sh
          trapline stop task-3

        A clone goes on where the machine is, without its consoles; its programs run on, their output goes nowhere. It has a time of day, random
        numbers and a machine generation identifier of its own, and lives on when the machine ends. It is on the same networks, with connections
        and card addresses of its own, without published ports: those lead to the first machine. The names are printed, one a line.
        """;

    public static Command Build(TextWriter output, TextWriter errors)
    {
        Argument<string> name = MachineArgument.Create();
        Option<string> count = new("--count", "-n") { Description = $"How many, up to {ForkRequest.MostAtOnce} [default: 1]", HelpName = "COUNT" };
        Option<string> prefix = new("--name") { Description = "They are called PREFIX-1, PREFIX-2, ... [default: the machine's name]", HelpName = "PREFIX" };
        Command command = new("fork", "Make running clones of a machine, which share its memory until they write to it: trapline fork NAME -n 4") { name, count, prefix };
        command.SetAction(result =>
        {
            ForkRequest request = new() { Count = ParseCount(result.GetValue(count) ?? "1"), Prefix = result.GetValue(prefix) };
            return MachineArgument.Ask(result.GetValue(name)!, errors, async client =>
            {
                foreach (MachineInfo clone in (await client.ForkAsync(result.GetValue(name)!, request).ConfigureAwait(false)).Machines)
                    output.WriteLine(clone.Name);
                return ExitCodes.Success;
            });
        });
        return command;
    }

    private static int ParseCount(string text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int count) && count is >= 1 and <= ForkRequest.MostAtOnce ? count
            : throw new BadInputException($"--count '{text}' makes no sense: use 1 to {ForkRequest.MostAtOnce}");
}
