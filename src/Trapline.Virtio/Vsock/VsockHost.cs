using System.Collections.Concurrent;
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using Trapline.Core;

namespace Trapline.Virtio.Vsock;

/// <summary>The host's end, by Firecracker's convention: who connects to PATH and writes "CONNECT PORT\n" reaches that port of the guest, and is answered
/// "OK HOSTPORT\n"; a guest that connects to port N of the host reaches whoever listens at PATH_N.</summary>
internal sealed class VsockHost : IDisposable
{
    private const int LongestLine = 32, MostWaiting = 64;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private readonly string _path;
    private readonly Action _arrived;
    private readonly Socket _listener;
    private readonly CancellationTokenSource _end = new();
    private int _greeting;

    /// <param name="path">Of the socket to listen at.</param>
    /// <param name="arrived">Called when somebody asks for a port of the guest.</param>
    /// <exception cref="BadInputException">The socket cannot be made there.</exception>
    public VsockHost(string path, Action arrived)
    {
        (_path, _arrived) = (path, arrived);
        _listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            RemoveStale(path);
            _listener.Bind(new UnixDomainSocketEndPoint(path));
            if (!OperatingSystem.IsWindows())
                File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            _listener.Listen(16);
        }
        catch (Exception e) when (e is SocketException or ArgumentException or IOException or UnauthorizedAccessException)
        {
            _listener.Dispose();
            throw new BadInputException($"vsock '{path}' cannot be made: {e.Message.TrimEnd('.').ReplaceLineEndings(" ")}; give another path");
        }
        _ = AcceptAsync();
    }

    /// <summary>Those who asked for a port of the guest.</summary>
    public ConcurrentQueue<(Socket Socket, uint GuestPort)> Asking { get; } = new();

    /// <summary>A socket that nobody listens at is what a killed process left.</summary>
    private static void RemoveStale(string path)
    {
        if (!File.Exists(path))
            return;
        using Socket probe = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            probe.Connect(new UnixDomainSocketEndPoint(path));
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.ConnectionRefused)
        {
            File.Delete(path);
        }
    }

    private async Task AcceptAsync()
    {
        try
        {
            for (; ; )
            {
                Socket socket = await _listener.AcceptAsync(_end.Token).ConfigureAwait(false);
                if (Interlocked.Increment(ref _greeting) > MostWaiting)
                {
                    Interlocked.Decrement(ref _greeting);
                    socket.Dispose();
                    continue;
                }
                _ = GreetAsync(socket);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The machine ends.
        }
    }

    /// <summary>Reads the line byte by byte: what follows it is the guest's.</summary>
    private async Task GreetAsync(Socket socket)
    {
        try
        {
            using CancellationTokenSource limit = CancellationTokenSource.CreateLinkedTokenSource(_end.Token);
            limit.CancelAfter(Patience);
            byte[] line = new byte[LongestLine];
            int length = 0;
            while (length < LongestLine && await socket.ReceiveAsync(line.AsMemory(length, 1), limit.Token).ConfigureAwait(false) == 1 && line[length] != '\n')
                length++;
            string[] words = Encoding.ASCII.GetString(line, 0, length).TrimEnd('\r').Split(' ');
            if (words is ["CONNECT", var port] && uint.TryParse(port, NumberStyles.None, CultureInfo.InvariantCulture, out uint number) && length < LongestLine)
            {
                Asking.Enqueue((socket, number));
                _arrived();
                return;
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
        }
        finally
        {
            Interlocked.Decrement(ref _greeting);
        }
        socket.Dispose();
    }

    /// <summary>Connects to whoever serves a host port; null if nobody does. A Unix socket's connect is done, or refused, at once.</summary>
    public Socket? TryConnect(uint port)
    {
        Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { Blocking = false };
        try
        {
            socket.Connect(new UnixDomainSocketEndPoint(string.Create(CultureInfo.InvariantCulture, $"{_path}_{port}")));
            return socket;
        }
        catch (Exception e) when (e is SocketException or ArgumentException)
        {
            socket.Dispose();
            return null;
        }
    }

    public void Dispose()
    {
        _end.Cancel();
        _listener.Dispose();
        while (Asking.TryDequeue(out (Socket Socket, uint) asking))
            asking.Socket.Dispose();
        try
        {
            File.Delete(_path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The next machine at this path removes it.
        }
        _end.Dispose();
    }
}
