using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Trapline.Host;

namespace Trapline.Network.Tests;

public class FrameLinkTests
{
    private static (FrameLink Link, StreamSocket Peer) Pair(Action? lost = null)
    {
        (StreamSocket ours, SafeHandle theirs) = StreamSocket.Pair(FrameLink.SocketBytes);
        return (new FrameLink(ours, lost ?? (() => { })), new StreamSocket(theirs));
    }

    private static byte[] Record(int length, byte first)
    {
        byte[] record = new byte[length];
        for (int i = 0; i < length; i++)
            record[i] = (byte)(first + (i * 7));
        return record;
    }

    [Fact]
    public void RecordsArriveWholeHoweverTheyAreCut()
    {
        (FrameLink link, StreamSocket peer) = Pair();
        using (link)
        using (peer)
        {
            List<byte[]> got = [];
            using ManualResetEventSlim all = new();
            byte[][] sent = [Record(60, 1), Record(65_534, 2), Record(1, 3), Record(0, 0), Record(1_514, 4)];
            link.Start("test", record =>
            {
                got.Add(record.ToArray());
                if (got.Count == sent.Length)
                    all.Set();
                return true;
            });
            byte[] stream = [.. sent.SelectMany(r => (byte[])[.. BigEndian(r.Length), .. r])];
            Random random = new(1);
            for (int at = 0; at < stream.Length;)
            {
                int count = Math.Min(stream.Length - at, random.Next(4) == 0 ? random.Next(1, 4) : random.Next(1, 9_000));
                int done = peer.Send(stream.AsSpan(at, count), default);
                Assert.True(done > 0);
                at += done;
            }
            Assert.True(all.Wait(10_000));
            Assert.Equal(sent, got);
        }
    }

    [Fact]
    public void ManyRecordsGoThroughASmallBufferUnharmed()
    {
        (FrameLink link, StreamSocket peer) = Pair();
        using (link)
        using (peer)
        {
            const int count = 400;
            int received = 0;
            using FrameLink other = new(peer, () => { });
            using ManualResetEventSlim all = new();
            other.Start("test", record =>
            {
                if (!record.SequenceEqual(Record(record.Length, (byte)received)))
                    return true;
                if (++received == count)
                    all.Set();
                return true;
            });
            byte[] head = new byte[FrameLink.Prefix];
            for (int i = 0; i < count; i++)
            {
                byte[] record = Record((i * 1_237) % 65_535, (byte)i);
                while (!link.Send(head, record))
                    Assert.True(received < count);
            }
            Assert.True(all.Wait(10_000));
        }
    }

    [Fact]
    public void WhoHasNoRoomIsAskedAgainAndTheSenderWaits()
    {
        (FrameLink link, StreamSocket peer) = Pair();
        using (link)
        using (peer)
        {
            bool full = true;
            int asked = 0, taken = 0;
            using ManualResetEventSlim done = new();
            link.Start("test", _ =>
            {
                asked++;
                if (full)
                    return false;
                if (++taken == 3)
                    done.Set();
                return true;
            });
            byte[] stream = [.. Enumerable.Repeat((byte[])[.. BigEndian(60), .. Record(60, 9)], 3).SelectMany(r => r)];
            peer.Send(stream, default);
            Assert.True(SpinWait.SpinUntil(() => asked == 1, 5_000));
            // Nobody receives now, so sooner or later there is no room for more.
            byte[] more = new byte[1 << 16];
            int rounds = 0;
            while (peer.Send(more, default) > 0)
                Assert.True(++rounds < 1_000);
            Assert.Equal(0, taken);
            full = false;
            link.Retry();
            Assert.True(done.Wait(5_000));
        }
    }

    [Fact]
    public void WhoDoesNotReadCostsHisOwnFramesAndNobodysTime()
    {
        (FrameLink link, StreamSocket peer) = Pair();
        using (link)
        using (peer)
        {
            byte[] head = new byte[FrameLink.Prefix], frame = Record(65_000, 5);
            int sent = 0;
            while (link.Send(head, frame))
                Assert.True(++sent < 1_000);
            Assert.True(sent > 0);
            long start = Environment.TickCount64;
            Assert.False(link.Send(head, frame));
            Assert.InRange(Environment.TickCount64 - start, 0, 2_000);

            // What had begun is finished before anything else: the stream stays in step.
            int received = 0;
            using ManualResetEventSlim last = new();
            using FrameLink reader = new(peer, () => { });
            reader.Start("test", record =>
            {
                received++;
                if (record.Length == 3)
                    last.Set();
                return record.Length == 3 || record.SequenceEqual(frame);
            });
            Assert.True(SpinWait.SpinUntil(() => link.Send(head, new byte[3]), 5_000));
            Assert.True(last.Wait(5_000));
        }
    }

    [Theory]
    [InlineData(FrameLink.LongestRecord + 1)]
    [InlineData(int.MinValue)]
    [InlineData(-1)]
    public void ALengthThatCannotBeEndsTheLink(int length)
    {
        using ManualResetEventSlim lost = new();
        (FrameLink link, StreamSocket peer) = Pair(lost.Set);
        using (link)
        using (peer)
        {
            link.Start("test", _ => true);
            peer.Send(BigEndian(length), new byte[100]);
            Assert.True(lost.Wait(5_000));
            Assert.False(link.Send(new byte[FrameLink.Prefix], new byte[60]));
        }
    }

    [Fact]
    public void SendingAndReceivingAllocateNothing()
    {
        (FrameLink link, StreamSocket peer) = Pair();
        using (link)
        using (peer)
        {
            using FrameLink other = new(peer, () => { });
            const int rounds = 5, each = 1_000;
            long received = 0, sent = 0, before = 0, receiving = long.MaxValue, sending = long.MaxValue;
            other.Start("test", _ =>
            {
                // What is compiled and made once may fall into any round but not into all.
                if (received++ % each == 0)
                    before = GC.GetAllocatedBytesForCurrentThread();
                else if (received % each == 0)
                    receiving = Math.Min(receiving, GC.GetAllocatedBytesForCurrentThread() - before);
                return true;
            });
            byte[] head = new byte[FrameLink.Prefix], frame = Record(1_514, 7);
            for (int round = 0; round < rounds; round++)
            {
                long start = GC.GetAllocatedBytesForCurrentThread();
                for (int i = 0; i < each; i++)
                    sent += link.Send(head, frame) ? 1 : 0;
                sending = Math.Min(sending, GC.GetAllocatedBytesForCurrentThread() - start);
            }
            Assert.True(SpinWait.SpinUntil(() => Interlocked.Read(ref received) == sent, 5_000));
            Assert.Equal((0, 0), (sending, Interlocked.Read(ref receiving)));
        }
    }

    private static byte[] BigEndian(int value)
    {
        byte[] bytes = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(bytes, value);
        return bytes;
    }
}
