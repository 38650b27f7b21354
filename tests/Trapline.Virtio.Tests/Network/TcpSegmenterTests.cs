using System.Buffers.Binary;
using Trapline.Virtio.Network;

namespace Trapline.Virtio.Tests.Network;

public sealed class TcpSegmenterTests
{
    private static List<byte[]> Cut(byte[] frame, int tcp, bool isVersion6, int size)
    {
        TcpSegmenter segmenter = new();
        Assert.True(segmenter.TryBegin([.. frame], frame.Length, tcp, isVersion6, size));
        byte[] room = new byte[FrameTransmitter.MostBytes];
        List<byte[]> segments = [];
        for (int n = segmenter.Next(room); n > 0; n = segmenter.Next(room))
            segments.Add(room[..n]);
        return segments;
    }

    [Theory]
    [InlineData(1)]
    [InlineData(1448)]
    [InlineData(1449)]
    [InlineData(10_000)]
    [InlineData(65_483)] // the longest packet
    public void SegmentsOfIpv4AreWholePacketsWithTheWholePayload(int payload)
    {
        byte[] frame = HandMadeFrames.Tcp4(payload, flags: 0x19);
        List<byte[]> segments = Cut(frame, HandMadeFrames.Ipv4Tcp, false, 1448);
        Assert.Equal((payload + 1447) / 1448, segments.Count);
        byte[] together = [.. segments.SelectMany(s => s[66..])];
        Assert.Equal(frame[66..], together);
        for (int i = 0; i < segments.Count; i++)
        {
            byte[] s = segments[i];
            Assert.Equal(frame[..16], s[..16]);
            Assert.Equal(s.Length - 14, BinaryPrimitives.ReadUInt16BigEndian(s.AsSpan(16)));
            Assert.Equal((ushort)(0xFFFE + i), BinaryPrimitives.ReadUInt16BigEndian(s.AsSpan(18)));
            Assert.Equal(0xFFFF, HandMadeFrames.Sum(s.AsSpan(14, 20)));
            Assert.Equal(0xFFFF_F000u + (uint)(i * 1448), BinaryPrimitives.ReadUInt32BigEndian(s.AsSpan(38)));
            Assert.Equal(i == segments.Count - 1 ? 0x19 : 0x10, s[47]); // FIN and PSH are the last one's
            Assert.True(HandMadeFrames.TcpIsRight(s, 34));
        }
    }

    [Fact]
    public void SegmentsOfIpv6HaveTheirLengths()
    {
        byte[] frame = HandMadeFrames.Tcp6(3001);
        List<byte[]> segments = Cut(frame, HandMadeFrames.Ipv6Tcp, true, 1000);
        Assert.Equal([1000, 1000, 1000, 1], segments.Select(s => s.Length - 74));
        Assert.All(segments, s =>
        {
            Assert.Equal(s.Length - 54, BinaryPrimitives.ReadUInt16BigEndian(s.AsSpan(18)));
            Assert.True(HandMadeFrames.TcpIsRight(s, 54));
        });
        Assert.Equal(frame[74..], segments.SelectMany(s => s[74..]));
    }

    [Fact]
    public void ATagOfAVlanIsKept()
    {
        byte[] frame = HandMadeFrames.Tcp4(2000, tagged: true);
        List<byte[]> segments = Cut(frame, HandMadeFrames.Ipv4Tcp + 4, false, 1000);
        Assert.Equal(2, segments.Count);
        Assert.All(segments, s => Assert.Equal(frame[..20], s[..20]));
        Assert.All(segments, s => Assert.True(HandMadeFrames.TcpIsRight(s, 38)));
    }

    [Fact]
    public void TheReducedWindowIsSaidOnce()
    {
        List<byte[]> segments = Cut(HandMadeFrames.Tcp4(300, flags: 0x90), HandMadeFrames.Ipv4Tcp, false, 100);
        Assert.Equal([0x90, 0x10, 0x10], segments.Select(s => s[47]));
    }

    [Fact]
    public void NoPayloadIsOneSegment() => Assert.Single(Cut(HandMadeFrames.Tcp4(0), HandMadeFrames.Ipv4Tcp, false, 100));

    [Fact]
    public void WhatIsNoTcpIsNotCut()
    {
        TcpSegmenter segmenter = new();
        byte[] good = HandMadeFrames.Tcp4(500);
        Refused(f => f[12] = 9); // of another protocol
        Refused(f => f[14] = 0x65);
        Refused(f => f[14] = 0x46); // options where TCP is said to begin
        Refused(f => f[23] = 17);
        Refused(f => f[46] = 0x40); // a TCP header of 16 bytes
        Assert.False(segmenter.TryBegin(good, good.Length, 33, false, 100));
        Assert.False(segmenter.TryBegin(good, good.Length, 5000, false, 100));
        Assert.False(segmenter.TryBegin(good, good.Length, 34, true, 100));
        Assert.False(segmenter.TryBegin(good, good.Length, 34, false, 47));
        Assert.False(segmenter.TryBegin(good, 50, 34, false, 100)); // its options are missing
        Assert.False(segmenter.TryBegin(good, 10, 34, false, 100));

        void Refused(Action<byte[]> change)
        {
            byte[] frame = [.. good];
            change(frame);
            Assert.False(segmenter.TryBegin(frame, frame.Length, 34, false, 100));
        }
    }

    [Fact]
    public void GarbageIsCutOrRefusedAndNothingElse()
    {
        Random random = new(4);
        TcpSegmenter segmenter = new();
        byte[] room = new byte[FrameTransmitter.MostBytes];
        int cut = 0;
        for (int i = 0; i < 20_000; i++)
        {
            bool isVersion6 = random.Next(2) == 0;
            byte[] frame = isVersion6 ? HandMadeFrames.Tcp6(random.Next(300)) : HandMadeFrames.Tcp4(random.Next(300));
            frame[random.Next(80) % frame.Length] = (byte)random.Next();
            int tcp = random.Next(8) == 0 ? random.Next(ushort.MaxValue) : isVersion6 ? 54 : 34;
            if (!segmenter.TryBegin(frame, random.Next(frame.Length + 1), tcp, isVersion6, random.Next(500)))
                continue;
            cut++;
            while (segmenter.Next(room) > 0) { }
        }
        Assert.InRange(cut, 2000, 20_000);
    }
}
