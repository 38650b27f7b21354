using System.Net.Sockets;
using System.Threading.Channels;
using Trapline.Control.Sockets;

namespace Trapline.Control.Server;

/// <summary>Answers on control sockets. Until somebody connects, each is one pending accept: no web server is loaded, no thread waits.</summary>
/// <param name="machines">What is served on all of them; the caller owns the machines.</param>
internal sealed class ControlServer(IMachineCatalog machines) : IAsyncDisposable
{
    private readonly Lock _lock = new();
    private readonly Channel<Socket> _accepted = Channel.CreateUnbounded<Socket>(new UnboundedChannelOptions { SingleReader = true });
    private readonly Dictionary<ControlSocket, (CancellationTokenSource Stop, Task Accepting)> _sockets = [];
    private Task<ControlHost?>? _host;

    /// <summary>Answers whoever connects to this socket from now on, which stays the caller's.</summary>
    public void Listen(ControlSocket socket)
    {
        CancellationTokenSource stop = new();
        lock (_lock)
        {
            _host ??= ServeAsync();
            _sockets.Add(socket, (stop, AcceptAsync(socket, stop.Token)));
        }
    }

    /// <summary>Accepts no more from it. Connections that are there stay.</summary>
    public async Task LeaveAsync(ControlSocket socket)
    {
        (CancellationTokenSource Stop, Task Accepting) left;
        lock (_lock)
        {
            if (!_sockets.Remove(socket, out left))
                return;
        }
        await left.Stop.CancelAsync().ConfigureAwait(false);
        await left.Accepting.ConfigureAwait(false);
        left.Stop.Dispose();
    }

    /// <summary>Answers what has been asked, for a moment at most.</summary>
    public async ValueTask DisposeAsync()
    {
        ControlSocket[] sockets;
        lock (_lock)
            sockets = [.. _sockets.Keys];
        foreach (ControlSocket socket in sockets)
            await LeaveAsync(socket).ConfigureAwait(false);
        _accepted.Writer.TryComplete();
        if (_host != null && await _host.ConfigureAwait(false) is { } host)
            await host.DisposeAsync().ConfigureAwait(false);
        while (_accepted.Reader.TryRead(out Socket? unheard))
            unheard.Dispose();
    }

    private async Task AcceptAsync(ControlSocket socket, CancellationToken stop)
    {
        PatientListener listener = new(socket.Listener);
        while (await listener.AcceptAsync(stop).ConfigureAwait(false) is { } connection)
        {
            if (!_accepted.Writer.TryWrite(connection))
                connection.Dispose();
        }
    }

    private async Task<ControlHost?> ServeAsync()
    {
        while (await _accepted.Reader.WaitToReadAsync().ConfigureAwait(false))
        {
            try
            {
                return await ControlHost.StartAsync(_accepted.Reader, machines).ConfigureAwait(false);
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                // The guest goes on; who comes next may find better times.
                if (_accepted.Reader.TryRead(out Socket? first))
                    first.Dispose();
            }
        }
        return null;
    }
}
