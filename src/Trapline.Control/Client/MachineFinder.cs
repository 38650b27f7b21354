using Trapline.Control.Api;
using Trapline.Control.Sockets;
using Trapline.Core;

namespace Trapline.Control.Client;

/// <summary>Finds machines by the sockets in the user's runtime directory.</summary>
public static class MachineFinder
{
    /// <summary>A process that is stopped has its socket open and says nothing: nobody waits long for it.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    /// <summary>All that answer, by name, and the names of those that do not. What dead processes left is removed.</summary>
    public static async Task<(IReadOnlyList<MachineInfo> Machines, IReadOnlyList<string> Silent)> ListAsync(RuntimeDirectory directory)
    {
        IReadOnlyList<string> names = directory.Names;
        IReadOnlyList<MachineInfo>?[] answers = await Task.WhenAll(names.Select(name => AskAsync(directory, name))).ConfigureAwait(false);
        List<string> silent = [.. names.Where((name, i) => answers[i] == null && !ControlSocket.RemoveIfDead(directory, name) && File.Exists(directory.SocketOf(name)))];
        // Each socket answers for all machines of its process.
        return ([.. answers.SelectMany(a => a ?? []).DistinctBy(m => m.Name).OrderBy(m => m.Name, StringComparer.Ordinal)], silent);
    }

    /// <summary>The socket of a machine.</summary>
    /// <exception cref="BadInputException">There is none; the message names those that are there.</exception>
    public static string Find(RuntimeDirectory directory, string name)
    {
        MachineName.Check(name);
        if (File.Exists(directory.SocketOf(name)) && !ControlSocket.RemoveIfDead(directory, name))
            return directory.SocketOf(name);
        IReadOnlyList<string> others = directory.Names;
        throw new BadInputException($"there is no machine '{name}': " + (others.Count == 0
            ? "none with a name is running; trapline run --name NAME starts one"
            : $"running are {string.Join(", ", others)}"));
    }

    private static async Task<IReadOnlyList<MachineInfo>?> AskAsync(RuntimeDirectory directory, string name)
    {
        using ControlClient client = new(directory.SocketOf(name));
        using CancellationTokenSource patience = new(Patience);
        try
        {
            return (await client.ListAsync(patience.Token).ConfigureAwait(false)).Machines;
        }
        catch (Exception e) when (e is ControlException or OperationCanceledException)
        {
            return null;
        }
    }
}
