using System.Net;
using System.Runtime.InteropServices;
using Trapline.Core;
using Trapline.Host;

namespace Trapline.Network.Passt;

/// <summary>A network that needs no privileges: the guest's packets become sockets of the host in a passt process of its own.</summary>
/// <remarks>
/// passt looks at no TCP or UDP checksum of the guest's and takes segments of any length, so the guest may leave both undone. What it sends is correct, and
/// came by no wire.
/// </remarks>
public sealed class PasstBackend : INetworkBackend
{
    private const string Program = "passt";
    private const int StartMilliseconds = 5_000, EndMilliseconds = 1_000;

    private readonly HelperProcess _process;
    private readonly CardLink _link;
    private readonly Action<string> _report;
    private volatile bool _isLost;

    private PasstBackend(HelperProcess process, StreamSocket socket, bool hasIp6, Action<string> report)
    {
        (_process, HasIp6, _report) = (process, hasIp6, report);
        _link = new CardLink(socket, Lost);
    }

    /// <summary>passt is installed.</summary>
    public static bool IsInstalled => HelperProcess.Find(Program) is not null;

    /// <summary>Starts passt for a moment, with a network that nobody uses: why it cannot run here for this user; null if it can.</summary>
    public static string? FindObstacle()
    {
        try
        {
            using PasstBackend trial = Start(new PasstOptions(), _ => { });
            return trial.IsServing(StartMilliseconds) ? null : trial.Obstacle();
        }
        catch (BadInputException refusal)
        {
            return refusal.Message;
        }
    }

    /// <summary>The guest's network has IPv6 beside IPv4.</summary>
    public bool HasIp6 { get; }

    public int Mtu => PasstOptions.Mtu;

    public FrameOffloads Accepts => FrameOffloads.Checksum | FrameOffloads.TcpSegments4 | FrameOffloads.TcpSegments6;

    internal int ProcessId => _process.Id;

    /// <summary>Starts passt, which is ready when the guest is; with published ports, waits until it listens.</summary>
    /// <param name="report">Is given a line for people if passt ends before it is told to. From any thread.</param>
    /// <exception cref="BadInputException">passt is not installed, cannot run here, or a port is taken.</exception>
    public static PasstBackend Start(PasstOptions options, Action<string> report)
    {
        string path = HelperProcess.Find(Program)
            ?? throw new BadInputException("network 'user' needs passt, which is not installed: apt-get install passt, or use --net none");
        HostRoutes routes = HostRoutes.Read();
        PasstBackend backend = Start(path, options, routes, report);
        if (options.Published.Count == 0 || backend.IsServing(StartMilliseconds))
            return backend;
        string reason = backend.Obstacle();
        backend.Dispose();
        throw new BadInputException($"network 'user': passt cannot publish {string.Join(", ", options.Published)}: {reason}");
    }

    public bool Send(ReadOnlySpan<byte> frame, in FrameOffload offload) => _link.Send(frame);

    public void Connect(INetworkSink sink)
    {
        _link.Connect(sink, "passt", Receive);
        if (_isLost)
            sink.SetLink(false);
    }

    public void Dispose()
    {
        _link.Dispose();
        _process.Dispose();
    }

    private static PasstBackend Start(string path, PasstOptions options, HostRoutes routes, Action<string> report)
    {
        (StreamSocket ours, SafeHandle theirs) = StreamSocket.Pair(FrameLink.SocketBytes);
        try
        {
            HelperProcess process = HelperProcess.Start(path, PasstArguments.Make(options, routes), theirs);
            return new PasstBackend(process, ours, PasstArguments.HasIp6(options, routes), report);
        }
        catch (IOException e)
        {
            ours.Dispose();
            throw new BadInputException($"network 'user': '{path}' cannot be started: {e.Message}");
        }
        finally
        {
            theirs.Dispose();
        }
    }

    /// <summary>Asks for the gateway's address, and waits for the answer, which stays for a guest that has no use for it.</summary>
    private bool IsServing(int milliseconds)
    {
        // From everybody to everybody, so that passt does not take us for the guest.
        Send(ArpFrame.Question(MacAddress.Broadcast, IPAddress.Parse(PasstOptions.Guest4), IPAddress.Parse(PasstOptions.Gateway4)), default);
        return _link.WaitForData(milliseconds);
    }

    private bool Receive(ReadOnlySpan<byte> frame)
    {
        INetworkSink sink = _link.Card!;
        FrameOffload done = new(sink.Accepts & FrameOffloads.ChecksumIsValid);
        if (!RefusedConnection.Is(frame))
            return sink.Receive(frame, done);
        Span<byte> repaired = stackalloc byte[RefusedConnection.Longest];
        repaired = repaired[..frame.Length];
        frame.CopyTo(repaired);
        RefusedConnection.Repair(repaired);
        return sink.Receive(repaired, done);
    }

    private void Lost()
    {
        _isLost = true;
        _link.Card?.SetLink(false);
        _report($"the network is gone: {Obstacle()}; the guest goes on without it");
    }

    /// <summary>Why passt ended, by its own words if it has any.</summary>
    private string Obstacle()
    {
        bool ended = _process.WaitForEnd(EndMilliseconds);
        // Where there is no system log it complains of that, too.
        string? words = _process.TakeSayings().LastOrDefault(line => !line.StartsWith("Failed to send", StringComparison.Ordinal) && !line.StartsWith("Don't run as root", StringComparison.Ordinal));
        return words is not null ? $"passt says: {words}" : ended ? "passt has ended" : "passt does not answer";
    }
}
