using System.Net.Sockets;

namespace Trapline.Control.Server;

/// <summary>Accepts from a socket that belongs to somebody else, whatever passes by.</summary>
internal readonly struct PatientListener(Socket listener)
{
    /// <summary>Before the next try where the process has no descriptor left.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    /// <summary>The next connection, or null when the token is cancelled or the socket closed. Never throws.</summary>
    public async ValueTask<Socket?> AcceptAsync(CancellationToken cancellation)
    {
        while (true)
        {
            try
            {
                return await listener.AcceptAsync(cancellation).ConfigureAwait(false);
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                return null;
            }
            catch (SocketException)
            {
                if (cancellation.IsCancellationRequested)
                    return null;
                await Task.Delay(Pause, CancellationToken.None).ConfigureAwait(false);
            }
        }
    }
}
