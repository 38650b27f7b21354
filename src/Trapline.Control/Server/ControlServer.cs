using System.Net.Sockets;
using Trapline.Control.Sockets;

namespace Trapline.Control.Server;

/// <summary>Answers on a control socket. Until somebody connects, it is one pending accept: no web server is loaded, no thread waits.</summary>
public sealed class ControlServer : IAsyncDisposable
{
    private readonly CancellationTokenSource _closing = new();
    private readonly ControlSocket _socket;
    private readonly IMachineCatalog _machines;
    private readonly Task<ControlHost?> _host;

    /// <param name="socket">Owned by the server from here on.</param>
    /// <param name="machines">What is served; the caller owns the machines.</param>
    public ControlServer(ControlSocket socket, IMachineCatalog machines)
    {
        _socket = socket;
        _machines = machines;
        _host = ServeAsync();
    }

    /// <summary>Answers what has been asked, for a moment at most; then the name is free.</summary>
    public async ValueTask DisposeAsync()
    {
        await _closing.CancelAsync().ConfigureAwait(false);
        if (await _host.ConfigureAwait(false) is { } host)
            await host.DisposeAsync().ConfigureAwait(false);
        _socket.Dispose();
        _closing.Dispose();
    }

    private async Task<ControlHost?> ServeAsync()
    {
        while (await new PatientListener(_socket.Listener).AcceptAsync(_closing.Token).ConfigureAwait(false) is { } first)
        {
            try
            {
                return await ControlHost.StartAsync(_socket.Listener, first, _machines).ConfigureAwait(false);
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                // The guest goes on; who comes next may find better times.
                first.Dispose();
            }
        }
        return null;
    }
}
