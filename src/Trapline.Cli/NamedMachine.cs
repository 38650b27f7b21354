using Trapline.Control.Server;
using Trapline.Control.Sockets;
using Trapline.Host;

namespace Trapline.Cli;

/// <summary>The name of a run's machine, claimed before anything else is done, and the clones that are made of it while it lives.</summary>
internal sealed class NamedMachine : IAsyncDisposable
{
    private readonly ControlSocket _socket;
    private readonly NamedMachines _machines;
    private bool _serves;

    private NamedMachine(RuntimeDirectory directory, string name)
    {
        _socket = ControlSocket.Claim(directory, name);
        _machines = new NamedMachines(directory);
    }

    /// <exception cref="Core.BadInputException">The name is in use.</exception>
    public static NamedMachine Claim(string name) => new(RuntimeDirectory.ForUser(), name);

    /// <param name="machine">Answers to requests from now on.</param>
    public void Serve(VirtualMachine machine)
    {
        _serves = true;
        _machines.Add(_socket, machine, machine.HasAgent ? new AgentPrograms(machine) : null);
    }

    /// <summary>The run's own machine has ended: gives its name back and waits for the end of its clones, which a stop asks for too.</summary>
    public async Task EndAsync(CancellationToken stop)
    {
        if (_machines.Clones is { Count: > 0 } clones)
        {
            await _machines.RemoveAsync(_socket.Name).ConfigureAwait(false);
            if (HostTerminal.IsTerminal(2))
                Console.Error.WriteLine($"trapline: its clones go on: {string.Join(", ", clones)}; Ctrl-C ends them");
            using CancellationTokenRegistration stopped = stop.Register(() => _machines.StopClones("a signal asked for it"));
            await _machines.ClonesEndedAsync().ConfigureAwait(false);
        }
        await DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>Answers whoever waits for the end, and gives the name back.</summary>
    public async ValueTask DisposeAsync()
    {
        await _machines.DisposeAsync().ConfigureAwait(false);
        if (!_serves)
            _socket.Dispose();
    }
}
