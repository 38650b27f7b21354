using Trapline.Control.Server;
using Trapline.Control.Sockets;

namespace Trapline.Cli;

/// <summary>The name of a run's machine: claimed before anything else is done, served while the machine lives.</summary>
internal sealed class NamedMachine : IAsyncDisposable
{
    private readonly ControlSocket _socket;
    private ControlServer? _server;
    private bool _released;

    private NamedMachine(ControlSocket socket)
    {
        _socket = socket;
    }

    /// <exception cref="Core.BadInputException">The name is in use.</exception>
    public static NamedMachine Claim(string name) => new(ControlSocket.Claim(RuntimeDirectory.ForUser(), name));

    /// <param name="machine">Answers to requests from now on.</param>
    /// <param name="idle">Whether its guest runs programs for others.</param>
    public void Serve(VirtualMachine machine, bool idle) =>
        _server = new ControlServer(_socket, new SingleMachine(new ControlledMachine(_socket.Name, machine, idle ? new AgentPrograms(machine) : null)));

    /// <summary>Answers whoever waits for the end, and gives the name back.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_released)
            return;
        _released = true;
        if (_server != null)
            await _server.DisposeAsync().ConfigureAwait(false);
        else
            _socket.Dispose();
    }
}
