using Trapline.Core;

namespace Guest.Tests;

/// <summary>A network with one host in it, 10.0.0.1, that answers ARP and echo requests; it keeps the addresses of the cards that it heard.</summary>
internal sealed class EchoHost(int mtu) : INetworkBackend
{
    private static readonly byte[] Address = [0x02, 0, 0, 0, 0xEC, 0x40], Ip = [10, 0, 0, 1];

    private INetworkSink _sink = null!;

    public int Mtu => mtu;

    public FrameOffloads Accepts => FrameOffloads.None;

    public HashSet<MacAddress> Heard { get; } = [];

    public bool Send(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        lock (Heard)
            Heard.Add(MacAddress.Read(frame[6..]));
        byte[] answer = frame.ToArray();
        frame.Slice(6, 6).CopyTo(answer);
        Address.CopyTo(answer, 6);
        if (frame[12] == 8 && frame[13] == 6 && frame[21] == 1 && frame.Slice(38, 4).SequenceEqual(Ip))
        {
            answer[21] = 2;
            frame.Slice(22, 10).CopyTo(answer.AsSpan(32));
            Address.CopyTo(answer, 22);
            Ip.CopyTo(answer, 28);
            _sink.Receive(answer, default);
        }
        else if (frame[12] == 8 && frame[13] == 0 && frame[14] == 0x45 && frame[23] == 1 && frame[34] == 8)
        {
            frame.Slice(26, 4).CopyTo(answer.AsSpan(30));
            frame.Slice(30, 4).CopyTo(answer.AsSpan(26));
            answer[34] = 0;
            // Type 8 becomes 0: the sum of words grows by 0x0800 (RFC 1624).
            int sum = (answer[36] << 8 | answer[37]) + 0x0800;
            sum = (sum & 0xFFFF) + (sum >> 16);
            (answer[36], answer[37]) = ((byte)(sum >> 8), (byte)sum);
            _sink.Receive(answer, default);
        }
        return true;
    }

    public void Connect(INetworkSink sink) => _sink = sink;

    public void Dispose() { }
}
