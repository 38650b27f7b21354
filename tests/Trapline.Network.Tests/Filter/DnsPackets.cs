using System.Buffers.Binary;
using System.Net;
using System.Text;

namespace Trapline.Network.Tests.Filter;

/// <summary>Questions and answers of the domain name system, made by hand.</summary>
internal static class DnsPackets
{
    public static byte[] Question(string name, ushort type = 1) =>
        [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, .. Name(name), .. Number(type), 0, 1];

    /// <summary>An answer with these addresses for what was asked, after an alias if there is one.</summary>
    public static byte[] Answer(string name, string[] addresses, uint seconds = 60, string? alias = null)
    {
        List<byte> message = [.. Question(name)];
        (message[2], message[3]) = (0x81, 0x80);
        message[7] = (byte)(addresses.Length + (alias is null ? 0 : 1));
        if (alias is not null)
            message.AddRange([0xC0, 12, 0, 5, 0, 1, 0, 0, 0, 60, .. Number((ushort)Name(alias).Length), .. Name(alias)]);
        foreach (string text in addresses)
        {
            byte[] address = IPAddress.Parse(text).GetAddressBytes();
            byte[] ttl = new byte[4];
            BinaryPrimitives.WriteUInt32BigEndian(ttl, seconds);
            message.AddRange([0xC0, 12, 0, (byte)(address.Length == 4 ? 1 : 28), 0, 1, .. ttl, 0, (byte)address.Length, .. address]);
        }
        return [.. message];
    }

    private static byte[] Name(string name) => [.. name.Split('.').SelectMany(label => (byte[])[(byte)label.Length, .. Encoding.ASCII.GetBytes(label)]), 0];

    private static byte[] Number(ushort value) => [(byte)(value >> 8), (byte)value];
}
