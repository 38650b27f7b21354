using Trapline.Control.Api;
using Trapline.Control.Sockets;
using Trapline.Core;

namespace Trapline.Control.Server;

/// <summary>The machines of this process that have names: those it was started for, and their clones. Each has a socket of its own.</summary>
/// <remarks>
/// A clone is an equal of the machine that it began as: it has no owner but this, and lives until it ends by itself or by request. When a machine ends its
/// name is free at once. Every socket answers for all machines of the process, by one server.
/// </remarks>
public sealed class NamedMachines : IMachineCatalog, IAsyncDisposable
{
    private readonly Lock _lock = new();
    private readonly RuntimeDirectory _directory;
    private readonly ControlServer _server;
    private readonly Dictionary<string, Entry> _machines = new(StringComparer.Ordinal);
    private readonly List<Task> _lives = [];

    public NamedMachines(RuntimeDirectory directory)
    {
        _directory = directory;
        _server = new ControlServer(this);
    }

    /// <param name="Owned">The machine, if it is ours to end and dispose.</param>
    private sealed record Entry(ControlledMachine Machine, ControlSocket Socket, VirtualMachine? Owned);

    public IReadOnlyList<ControlledMachine> Machines
    {
        get
        {
            lock (_lock)
                return [.. _machines.Values.Select(e => e.Machine).OrderBy(m => m.Name, StringComparer.Ordinal)];
        }
    }

    /// <summary>The names of the clones that live.</summary>
    public IReadOnlyList<string> Clones
    {
        get
        {
            lock (_lock)
                return [.. _machines.Values.Where(e => e.Owned != null).Select(e => e.Machine.Name).Order(StringComparer.Ordinal)];
        }
    }

    public ControlledMachine? Find(string name)
    {
        lock (_lock)
            return _machines.GetValueOrDefault(name)?.Machine;
    }

    /// <summary>Serves a machine, which stays the caller's, by the socket's name, which does not.</summary>
    /// <param name="programs">Runs programs in its guest; null if it does not do that.</param>
    public void Add(ControlSocket socket, VirtualMachine machine, IGuestPrograms? programs) => Add(socket, machine, programs, isClone: false);

    /// <summary>Ends with the last clone.</summary>
    public async Task ClonesEndedAsync()
    {
        while (true)
        {
            Task[] lives;
            lock (_lock)
                lives = [.. _lives.Where(l => !l.IsCompleted)];
            if (lives.Length == 0)
                return;
            await Task.WhenAll(lives).ConfigureAwait(false);
        }
    }

    /// <summary>Ends all clones, as pulling the plug does. Does not wait.</summary>
    public void StopClones(string reason)
    {
        lock (_lock)
        {
            foreach (Entry entry in _machines.Values)
                entry.Owned?.Stop(reason);
        }
    }

    /// <summary>Gives a machine's name back. Requests that were made of it are still answered.</summary>
    public async Task RemoveAsync(string name)
    {
        Entry? entry;
        lock (_lock)
        {
            if (!_machines.Remove(name, out entry))
                return;
        }
        await _server.LeaveAsync(entry.Socket).ConfigureAwait(false);
        entry.Socket.Dispose();
    }

    /// <summary>Ends the clones, answers what has been asked, for a moment at most; then all names are free.</summary>
    public async ValueTask DisposeAsync()
    {
        StopClones("the process that ran it ends");
        await ClonesEndedAsync().ConfigureAwait(false);
        await _server.DisposeAsync().ConfigureAwait(false);
        foreach (ControlledMachine machine in Machines)
            await RemoveAsync(machine.Name).ConfigureAwait(false);
    }

    /// <summary>Makes clones of a machine, each with a name of its own, and serves them.</summary>
    /// <exception cref="BadInputException">There can be no such names.</exception>
    internal IReadOnlyList<MachineInfo> Fork(string name, VirtualMachine machine, ForkRequest request)
    {
        if (request.Count is < 1 or > ForkRequest.MostAtOnce)
            throw new BadInputException($"count {request.Count} is out of range: use 1 to {ForkRequest.MostAtOnce}");
        List<ControlSocket> sockets = [];
        try
        {
            for (int number = 1; sockets.Count < request.Count; number++)
            {
                if (ControlSocket.TryClaim(_directory, $"{request.Prefix ?? name}-{number}") is { } socket)
                    sockets.Add(socket);
            }
            IReadOnlyList<VirtualMachine> clones = machine.ForkAsync(request.Count, published: request.Publish).GetAwaiter().GetResult();
            return [.. clones.Select((clone, i) => Add(sockets[i], clone, clone.HasAgent ? new AgentPrograms(clone) : null, isClone: true).Describe())];
        }
        catch
        {
            sockets.ForEach(socket => socket.Dispose());
            throw;
        }
    }

    private ControlledMachine Add(ControlSocket socket, VirtualMachine machine, IGuestPrograms? programs, bool isClone)
    {
        ControlledMachine controlled = new(socket.Name, machine, programs, request => Fork(socket.Name, machine, request));
        Entry entry = new(controlled, socket, isClone ? machine : null);
        lock (_lock)
        {
            _machines.Add(socket.Name, entry);
            if (isClone)
                _lives.Add(Task.Run(() => LiveAsync(socket.Name, machine)));
        }
        _server.Listen(socket);
        return controlled;
    }

    private async Task LiveAsync(string name, VirtualMachine clone)
    {
        await clone.Completion.ConfigureAwait(false);
        await RemoveAsync(name).ConfigureAwait(false);
        clone.Dispose();
    }
}
