using System.Runtime.InteropServices;

namespace Trapline.Virtio.Vsock;

internal enum VsockOperation : ushort
{
    Invalid = 0,
    Request = 1,
    Response = 2,
    Reset = 3,
    Shutdown = 4,
    Data = 5,
    CreditUpdate = 6,
    CreditRequest = 7,
}

/// <summary>The head of every packet (virtio 1.2, 5.10.6).</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
internal readonly record struct VsockHeader(
    ulong SourceCid, ulong DestinationCid, uint SourcePort, uint DestinationPort, uint Length, ushort Type, VsockOperation Operation, uint Flags, uint BufferBytes, uint Forwarded)
{
    public const int Size = 44;

    /// <summary>The only type that is offered.</summary>
    public const ushort Stream = 1;

    /// <summary>Flags of a shutdown: the sender will receive, or send, no more.</summary>
    public const uint NoReceive = 1, NoSend = 2;
}
