using System.Runtime.InteropServices;
using Trapline.Core;
using Trapline.Memory;
using Trapline.Virtio.Queues;

namespace Trapline.Virtio.Network;

/// <summary>What became of a frame.</summary>
internal enum Reception
{
    Done,

    /// <summary>The driver gave too few buffers, and will notify when it gives more.</summary>
    NoRoom,

    /// <summary>It fits no buffer that this driver gives.</summary>
    TooLong,

    /// <summary>A buffer has no room for what must be in it.</summary>
    Broken,
}

/// <summary>Writes frames into a driver's buffers: one, or as many as it takes where they may be merged (virtio 1.2, 5.1.6.4). One thread at a time.</summary>
internal sealed class FrameReceiver(GuestMemory memory, ushort queueSize)
{
    private readonly DescriptorChain _first = new(memory, queueSize), _next = new(memory, queueSize);
    private readonly UsedChain[] _used = new UsedChain[queueSize];

    /// <param name="headerLength">Bytes of the header that the driver expects.</param>
    public Reception Receive(VirtQueue queue, ReadOnlySpan<byte> frame, NetworkHeader header, int headerLength, bool mergeable)
    {
        RingPosition start = queue.Position;
        if (!queue.TryPop(_first))
            return Reception.NoRoom;
        if (_first.WritableLength < (ulong)headerLength)
            return Reception.Broken;
        ChainCursor writer = _first.Writer;
        int done = (int)Math.Min((ulong)frame.Length, _first.WritableLength - (ulong)headerLength);
        if (done < frame.Length && !mergeable)
        {
            queue.Rewind(start);
            return Reception.TooLong;
        }
        writer.Skip((ulong)headerLength);
        writer.Write(frame[..done]);
        _used[0] = new UsedChain(_first.Id, _first.Slots, (uint)(headerLength + done));
        ushort buffers = 1;
        for (; done < frame.Length; buffers++)
        {
            // A frame that would take most of a queue might never find it: the driver may have given all that it has.
            Reception missing = buffers * 2 > queue.Size ? Reception.TooLong : Reception.NoRoom;
            if (missing == Reception.TooLong || !queue.TryPop(_next))
            {
                _first.NoteWritten();
                queue.Rewind(start);
                return missing;
            }
            writer = _next.Writer;
            int part = (int)Math.Min((ulong)(frame.Length - done), _next.WritableLength);
            if (part == 0)
                return Reception.Broken;
            writer.Write(frame.Slice(done, part));
            _next.NoteWritten();
            _used[buffers] = new UsedChain(_next.Id, _next.Slots, (uint)part);
            done += part;
        }
        header.Buffers = buffers;
        writer = _first.Writer;
        writer.Write(MemoryMarshal.AsBytes(new ReadOnlySpan<NetworkHeader>(in header))[..headerLength]);
        _first.NoteWritten();
        queue.Push(_used.AsSpan(0, buffers));
        return Reception.Done;
    }
}
