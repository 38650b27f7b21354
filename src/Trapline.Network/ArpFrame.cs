using System.Buffers.Binary;
using System.Net;
using Trapline.Core;

namespace Trapline.Network;

/// <summary>Questions for the card that has an IPv4 address (RFC 826).</summary>
internal static class ArpFrame
{
    public const int Length = 42;

    public static byte[] Question(MacAddress from, IPAddress sender, IPAddress wanted)
    {
        byte[] frame = new byte[Length];
        MacAddress.Broadcast.Write(frame);
        from.Write(frame.AsSpan(6));
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(12), 0x0806);
        // Ethernet, IPv4, six and four bytes, a request.
        ReadOnlySpan<byte> kind = [0, 1, 8, 0, 6, 4, 0, 1];
        kind.CopyTo(frame.AsSpan(14));
        from.Write(frame.AsSpan(22));
        sender.TryWriteBytes(frame.AsSpan(28), out _);
        wanted.TryWriteBytes(frame.AsSpan(38), out _);
        return frame;
    }
}
