using System.CommandLine;
using System.Globalization;
using System.Net;
using Trapline.Control.Api;
using Trapline.Core;
using Trapline.Network;

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
        and card addresses of its own. Published ports lead to the first machine; --publish 8081:80 has 8081 lead to port 80 of the first clone, 8082 to
        that of the second. The names are printed, one a line.
        """;

    public static Command Build(TextWriter output, TextWriter errors)
    {
        Argument<string> name = MachineArgument.Create();
        Option<string> count = new("--count", "-n") { Description = $"How many, up to {ForkRequest.MostAtOnce} [default: 1]", HelpName = "COUNT" };
        Option<string> prefix = new("--name") { Description = "They are called PREFIX-1, PREFIX-2, ... [default: the machine's name]", HelpName = "PREFIX" };
        Option<string[]> publish = new("--publish") { Description = "Lead a port of this host to the first clone's, the next one to the next clone's; as with run", HelpName = "[HOST:]PORT:GUESTPORT[/udp]", Arity = ArgumentArity.OneOrMore, AllowMultipleArgumentsPerToken = false };
        Command command = new("fork", "Make running clones of a machine, which share its memory until they write to it: trapline fork NAME -n 4") { name, count, prefix, publish };
        command.SetAction(result =>
        {
            PublishedPort[] ports = [.. (result.GetValue(publish) ?? []).Select(text => PublishedPort.Parse("--publish", text))];
            ForkRequest request = new() { Count = ParseCount(result.GetValue(count) ?? "1"), Prefix = result.GetValue(prefix), Publish = [.. ports.Select(p => p.ToString())] };
            return MachineArgument.Ask(result.GetValue(name)!, errors, async client =>
            {
                foreach ((int number, MachineInfo clone) in (await client.ForkAsync(result.GetValue(name)!, request).ConfigureAwait(false)).Machines.Index())
                {
                    output.WriteLine(clone.Name);
                    foreach (PublishedPort port in ports.Select(p => p.ForCopy(number)))
                        errors.WriteLine($"trapline: {new IPEndPoint(port.HostAddress, port.HostPort)} leads to port {port.GuestPort} of {clone.Name}");
                }
                return ExitCodes.Success;
            });
        });
        return command;
    }

    private static int ParseCount(string text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int count) && count is >= 1 and <= ForkRequest.MostAtOnce ? count
            : throw new BadInputException($"--count '{text}' makes no sense: use 1 to {ForkRequest.MostAtOnce}");
}
