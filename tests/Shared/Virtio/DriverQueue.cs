using System.Buffers.Binary;
using Trapline.Core;
using Trapline.Memory;

namespace Trapline.Virtio.Tests;

/// <summary>A part of a request, as a driver describes it.</summary>
internal readonly record struct Buffer(ulong Address, uint Length, bool Writable);

/// <summary>The driver's side of one virtqueue in guest memory: split or packed, with or without indirect tables.</summary>
internal sealed class DriverQueue(GuestMemory memory, ulong start, ushort size, bool packed)
{
    private const ushort Next = 1, Write = 2, Indirect = 4, Available = 1 << 7, Used = 1 << 15;

    private ushort _free, _available, _seen, _nextId;
    private bool _availableWrap = true, _usedWrap = true;
    private readonly ushort[] _slots = new ushort[size];

    public ushort Size => size;

    public ulong Descriptors => start;

    /// <summary>The available ring, or the driver's event suppression.</summary>
    public ulong Driver => start + (16ul * size);

    /// <summary>The used ring, or the device's event suppression.</summary>
    public ulong Device => (Driver + 6 + (2ul * size) + 0xFFF) & ~0xFFFul;

    /// <summary>Makes a request available; returns its id.</summary>
    public ushort Add(params ReadOnlySpan<Buffer> buffers) => packed ? AddPacked(buffers) : AddSplit(buffers);

    /// <summary>Makes a request available whose descriptors lie in a table of their own.</summary>
    public ushort AddIndirect(ulong table, params ReadOnlySpan<Buffer> buffers)
    {
        for (int i = 0; i < buffers.Length; i++)
        {
            ushort flags = (ushort)((buffers[i].Writable ? Write : 0) | (!packed && i + 1 < buffers.Length ? Next : 0));
            Put(table + (16ul * (ulong)i), buffers[i], packed ? (ushort)0 : flags, packed ? flags : (ushort)(i + 1));
        }
        Buffer whole = new(table, 16u * (uint)buffers.Length, false);
        return packed ? AddPackedSlot(whole, Indirect) : AddHead(whole, Indirect);
    }

    /// <summary>The next used request, or null.</summary>
    public (uint Id, uint Length)? TakeUsed()
    {
        if (packed)
        {
            ulong at = Descriptors + (16ul * _seen);
            ushort flags = Get16(at + 14);
            if ((flags & Available) != 0 != _usedWrap || (flags & Used) != 0 != _usedWrap)
                return null;
            (uint id, uint length) = (Get16(at + 12), Get32(at + 8));
            _seen += _slots[id % size];
            if (_seen >= size)
                (_seen, _usedWrap) = ((ushort)(_seen - size), !_usedWrap);
            return (id, length);
        }
        if (Get16(Device + 2) == _seen)
            return null;
        ulong element = Device + 4 + (8ul * (uint)(_seen++ % size));
        return (Get32(element), Get32(element + 4));
    }

    /// <summary>Waits until the device has used a request.</summary>
    public (uint Id, uint Length) WaitUsed()
    {
        (uint, uint)? used = null;
        SpinWait.SpinUntil(() => (used = TakeUsed()) is not null, TimeSpan.FromSeconds(5));
        return used ?? throw new TimeoutException("the device used nothing");
    }

    public void SetInterrupts(bool wanted) => Put16(packed ? Driver + 2 : Driver, (ushort)(wanted ? 0 : 1));

    /// <summary>With event indices: be told only when this many more requests (packed: descriptors) are used.</summary>
    public void WantInterruptAfter(int requests)
    {
        if (packed)
        {
            int at = _seen + requests;
            bool wrap = at < size ? _usedWrap : !_usedWrap;
            Put16(Driver, (ushort)((at % size) | (wrap ? 0x8000 : 0)));
            Put16(Driver + 2, 2);
            return;
        }
        Put16(Driver + 4 + (2ul * size), (ushort)(_seen + requests));
    }

    private ushort AddSplit(ReadOnlySpan<Buffer> buffers)
    {
        ushort head = _free;
        for (int i = 0; i < buffers.Length; i++)
        {
            ushort next = (ushort)((_free + 1) % size);
            Put(Descriptors + (16ul * _free), buffers[i], (ushort)((buffers[i].Writable ? Write : 0) | (i + 1 < buffers.Length ? Next : 0)), next);
            _free = next;
        }
        Publish(head);
        return head;
    }

    private ushort AddHead(Buffer whole, ushort flags)
    {
        ushort head = _free;
        Put(Descriptors + (16ul * head), whole, flags, 0);
        _free = (ushort)((_free + 1) % size);
        Publish(head);
        return head;
    }

    /// <summary>Puts a head into the available ring, whatever it is.</summary>
    public void Publish(ushort head)
    {
        Put16(Driver + 4 + (2ul * (uint)(_available % size)), head);
        Put16(Driver + 2, ++_available);
    }

    private ushort AddPacked(ReadOnlySpan<Buffer> buffers)
    {
        ushort id = (ushort)(_nextId++ % size), first = _available;
        ushort firstFlags = 0;
        for (int i = 0; i < buffers.Length; i++)
        {
            ushort flags = (ushort)((buffers[i].Writable ? Write : 0) | (i + 1 < buffers.Length ? Next : 0) | Turn());
            Put(Descriptors + (16ul * _available), buffers[i], id, i == 0 ? (ushort)(flags ^ (Available | Used)) : flags);
            firstFlags = i == 0 ? flags : firstFlags;
            Advance();
        }
        _slots[id] = (ushort)buffers.Length;
        Put16(Descriptors + (16ul * first) + 14, firstFlags); // the first last: the whole chain appears at once
        return id;
    }

    private ushort AddPackedSlot(Buffer whole, ushort flags)
    {
        ushort id = (ushort)(_nextId++ % size);
        _slots[id] = 1;
        Put(Descriptors + (16ul * _available), whole, id, (ushort)(flags | Turn()));
        Advance();
        return id;
    }

    private ushort Turn() => _availableWrap ? Available : Used;

    private void Advance()
    {
        if (++_available == size)
            (_available, _availableWrap) = (0, !_availableWrap);
    }

    /// <summary>Writes a descriptor; of a split ring the last word is the next one, of a packed ring it is the flags.</summary>
    public void Put(ulong at, Buffer buffer, ushort third, ushort fourth)
    {
        Span<byte> bytes = stackalloc byte[16];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, buffer.Address);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[8..], buffer.Length);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[12..], third);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[14..], fourth);
        memory.TryWrite(new Gpa(at), bytes);
    }

    public void Put16(ulong at, ushort value)
    {
        Span<byte> bytes = [(byte)value, (byte)(value >> 8)];
        Thread.MemoryBarrier();
        memory.TryWrite(new Gpa(at), bytes);
        Thread.MemoryBarrier();
    }

    private ushort Get16(ulong at)
    {
        Span<byte> bytes = stackalloc byte[2];
        memory.TryRead(new Gpa(at), bytes);
        Thread.MemoryBarrier();
        return BinaryPrimitives.ReadUInt16LittleEndian(bytes);
    }

    private uint Get32(ulong at)
    {
        Span<byte> bytes = stackalloc byte[4];
        memory.TryRead(new Gpa(at), bytes);
        return BinaryPrimitives.ReadUInt32LittleEndian(bytes);
    }
}
