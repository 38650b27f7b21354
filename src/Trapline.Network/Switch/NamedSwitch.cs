using System.Net.Sockets;
using Trapline.Core;
using Trapline.Host;

namespace Trapline.Network.Switch;

/// <summary>
/// A switch that this user's machines find by a Unix socket, in whatever process they are. Who comes first is the switch; when it ends, the next one is.
/// </summary>
/// <remarks>
/// On the socket are frames behind their lengths, as QEMU's "-netdev stream" has them, so its machines can be plugged in too. There is no word for work
/// left undone: frames are whole.
/// </remarks>
public sealed class NamedSwitch : INetworkBackend
{
    private const int Backlog = 16;
    private static readonly TimeSpan RejoinPause = TimeSpan.FromMilliseconds(200);

    private readonly string _path;
    private readonly Action<string> _report;
    private readonly Lock _gate = new();
    private readonly List<RemotePort> _guests = [];
    private readonly CancellationTokenSource _end = new();
    private INetworkSink? _sink;
    private VirtualSwitch? _switch;
    private SwitchPort? _own;
    private Socket? _listener;
    private RemoteSwitch? _remote;
    private bool _disposed;

    /// <summary>Plugs in, or begins the switch.</summary>
    /// <param name="path">Of the socket; its folder must be the user's alone.</param>
    /// <param name="report">Is given a line for people if the network is lost for good. From any thread.</param>
    /// <exception cref="BadInputException">There can be no socket there.</exception>
    public static NamedSwitch Join(string path, Action<string> report)
    {
        NamedSwitch joined = new(path, report);
        try
        {
            joined.Join();
            return joined;
        }
        catch (Exception e) when (e is SocketException or IOException or UnauthorizedAccessException or ArgumentException)
        {
            joined.Dispose();
            throw new BadInputException($"network 'socket': '{path}' cannot be used: {e.Message.TrimEnd('.').ReplaceLineEndings(" ")}");
        }
    }

    private NamedSwitch(string path, Action<string> report) => (_path, _report) = (path, report);

    public int Mtu => 1_500;

    public FrameOffloads Accepts => FrameOffloads.None;

    /// <summary>The switch is here, and the others are plugged into it.</summary>
    internal bool IsSwitch
    {
        get
        {
            lock (_gate)
                return _switch is not null;
        }
    }

    public bool Send(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        INetworkBackend? way = _own ?? (INetworkBackend?)Volatile.Read(ref _remote);
        return way is not null && way.Send(frame, offload);
    }

    public void Connect(INetworkSink sink)
    {
        lock (_gate)
        {
            _sink = sink;
            (_own ?? (INetworkBackend?)_remote)?.Connect(sink);
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            if (_disposed)
                return;
            _disposed = true;
        }
        _end.Cancel();
        if (_listener is { } listener)
        {
            // Whoever plugs in from here on begins the next switch.
            using FileStream mine = Lock(_path + ".lock");
            File.Delete(_path);
            listener.Dispose();
        }
        _remote?.Dispose();
        RemotePort[] guests;
        lock (_gate)
            guests = [.. _guests];
        foreach (RemotePort guest in guests)
            guest.Dispose();
        _own?.Dispose();
    }

    private void Join()
    {
        using FileStream mine = Lock(_path + ".lock");
        Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Connect(new UnixDomainSocketEndPoint(_path));
            lock (_gate)
            {
                _remote = new RemoteSwitch(socket, OnSwitchLost);
                if (_sink is not null)
                    _remote.Connect(_sink);
            }
        }
        catch (SocketException)
        {
            socket.Dispose();
            File.Delete(_path); // what a process that was killed left behind
            Listen();
        }
    }

    private void Listen()
    {
        Socket listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(_path));
        listener.Listen(Backlog);
        lock (_gate)
        {
            _listener = listener;
            _switch = new VirtualSwitch();
            _own = _switch.Add();
            _remote = null;
            if (_sink is not null)
                _own.Connect(_sink);
        }
        _ = AcceptAsync(listener, _switch);
    }

    private async Task AcceptAsync(Socket listener, VirtualSwitch lan)
    {
        try
        {
            for (; ; )
            {
                Socket guest = await listener.AcceptAsync(_end.Token).ConfigureAwait(false);
                lock (_gate)
                {
                    if (_disposed)
                    {
                        guest.Dispose();
                        return;
                    }
                    _guests.Add(new RemotePort(lan, guest, gone =>
                    {
                        lock (_gate)
                            _guests.Remove(gone);
                    }));
                }
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException or BadInputException)
        {
            // The end, or all ports are taken: who asks then waits, and is plugged in nowhere.
        }
    }

    /// <summary>The process with the switch has ended: another one takes its place, maybe this one.</summary>
    private void OnSwitchLost() => _ = RejoinAsync();

    private async Task RejoinAsync()
    {
        try
        {
            await Task.Delay(RejoinPause, _end.Token).ConfigureAwait(false);
            RemoteSwitch? before = Interlocked.Exchange(ref _remote, null);
            before?.Dispose();
            Join();
        }
        catch (OperationCanceledException)
        {
            // Disposed meanwhile.
        }
        catch (Exception e) when (e is SocketException or IOException or UnauthorizedAccessException or BadInputException)
        {
            _sink?.SetLink(false);
            _report($"the network is gone: '{_path}': {e.Message.TrimEnd('.').ReplaceLineEndings(" ")}; the guest goes on without it");
        }
    }

    /// <summary>flock(2): two that begin at once would each remove the other's socket.</summary>
    private static FileStream Lock(string path)
    {
        using ManualResetEventSlim never = new();
        for (int tries = 500; ; tries--)
        {
            try
            {
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException e) when (e is not DirectoryNotFoundException && tries > 0)
            {
                never.Wait(10);
            }
        }
    }
}
