using System.CommandLine;
using Trapline.Control.Client;
using Trapline.Control.Sockets;
using Trapline.Core;

namespace Trapline.Cli.Machines;

/// <summary>The name of a machine that runs, and requests to it.</summary>
internal static class MachineArgument
{
    public static Argument<string> Create()
    {
        Argument<string> name = new("name") { Description = "The machine's name: see trapline list", HelpName = "NAME" };
        name.CompletionSources.Add(_ => Names().Select(n => new System.CommandLine.Completions.CompletionItem(n)));
        return name;
    }

    /// <summary>Speaks to a machine; a refusal is bad input, silence has its own status.</summary>
    /// <returns>The exit status.</returns>
    public static int Ask(string name, TextWriter errors, Func<ControlClient, Task<int>> ask)
    {
        using ControlClient client = new(MachineFinder.Find(RuntimeDirectory.ForUser(), name));
        try
        {
            return ask(client).GetAwaiter().GetResult();
        }
        catch (ControlException e) when (e.Status is >= 400 and < 500)
        {
            throw new BadInputException(e.Message);
        }
        catch (ControlException e)
        {
            errors.WriteLine("trapline: " + e.Message);
            return ExitCodes.Unavailable;
        }
    }

    private static IReadOnlyList<string> Names()
    {
        try
        {
            return RuntimeDirectory.ForUser().Names;
        }
        catch (BadInputException)
        {
            return [];
        }
    }
}
