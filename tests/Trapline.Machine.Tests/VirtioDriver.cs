using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Machine.Tests;

/// <summary>How a guest's driver reaches a virtio function, and how that answers.</summary>
public enum VirtioWay
{
    /// <summary>Registers in memory, MSI-X.</summary>
    Modern,

    /// <summary>Registers in ports, MSI-X.</summary>
    Legacy,

    /// <summary>Registers in ports, a level-triggered pin through the I/O APIC.</summary>
    LegacyPin,
}

/// <summary>Writes a guest's driver of one virtio function in assembly: brings it up, names its queues, waits for them.</summary>
/// <remarks>Each queue has a chain of its own, which the driver makes available again and again. The handler keeps no register but EBX, ECX and EBP.</remarks>
internal sealed class VirtioDriver(Assembler a, VirtioWay way, int slot)
{
    private const int QueueSize = 256, AvailableAt = 16 * QueueSize, UsedAt = 0x2000;
    private const int FirstVector = 0x50;

    // The first capability of these functions.
    private const int MsixCapability = 0x40;

    private int Window => unchecked((int)(0xC000_0000 + ((uint)slot << 16)));

    private int MsixTable => Window + 0x8000;

    private int Ports => 0xC000 + (slot * 0x80);

    public bool IsModern => way == VirtioWay.Modern;

    /// <summary>Bytes before each frame of a network card.</summary>
    public int FrameHeader => IsModern ? 12 : 10;

    public static int Vector(int slot) => FirstVector + slot;

    /// <summary>Where a queue is in memory: two for each function.</summary>
    public int Queue(int queue) => 0x40_0000 + (slot * 0x1_0000) + (queue * 0x8000);

    /// <summary>Places the function, resets it, gives it its queues and starts it.</summary>
    public void Start(int queues)
    {
        PciWrite(0x10, Ports);
        PciWrite(0x14, MsixTable);
        PciWrite(0x20, Window);
        PciWrite(4, 7);
        if (way == VirtioWay.LegacyPin)
        {
            int input = MachineConstants.PciInterruptInput(slot, 0);
            a.mov(__dword_ptr[0xFEC00000], 0x10 + (2 * input));
            a.mov(__dword_ptr[0xFEC00010], 0x8000 | Vector(slot)); // level, to APIC 0
        }
        else
        {
            PciWrite(MsixCapability, unchecked((int)0x8000_0000));
            a.mov(__dword_ptr[MsixTable], unchecked((int)0xFEE0_0000));
            a.mov(__dword_ptr[MsixTable + 4], 0);
            a.mov(__dword_ptr[MsixTable + 8], Vector(slot));
            a.mov(__dword_ptr[MsixTable + 12], 0);
        }
        if (IsModern)
            StartModern(queues);
        else
            StartLegacy(queues);
    }

    /// <summary>Makes the queue's chain available and says so.</summary>
    public void Submit(int queue)
    {
        a.inc(__word_ptr[Queue(queue) + AvailableAt + 2]);
        if (IsModern)
            a.mov(__word_ptr[Window + 0x3000 + (queue * 4)], (short)queue);
        else
            Out16(16, queue);
    }

    /// <summary>Sleeps until all that was made available is used.</summary>
    public void Wait(int queue)
    {
        Label asleep = a.CreateLabel(), look = a.CreateLabel();
        a.jmp(look);
        a.Label(ref asleep);
        a.sti();
        a.hlt(); // the shadow of STI: nothing comes between
        a.Label(ref look);
        a.cli();
        a.mov(ax, __word_ptr[Queue(queue) + AvailableAt + 2]);
        a.cmp(__word_ptr[Queue(queue) + UsedAt + 2], ax);
        a.jne(asleep);
    }

    /// <summary>Writes one descriptor; <paramref name="next"/>: the one behind it belongs to the chain.</summary>
    public void Describe(int queue, int index, int address, int length, bool writable, bool next)
    {
        int at = Queue(queue) + (16 * index);
        a.mov(__dword_ptr[at], address);
        a.mov(__dword_ptr[at + 4], 0);
        a.mov(__dword_ptr[at + 8], length);
        a.mov(__word_ptr[at + 12], (short)((next ? 1 : 0) | (writable ? 2 : 0)));
        a.mov(__word_ptr[at + 14], (short)(index + 1));
    }

    /// <summary>In a handler: has a level-triggered pin fall.</summary>
    public void Acknowledge()
    {
        if (way != VirtioWay.LegacyPin)
            return;
        a.mov(edx, Ports + 19);
        a.@in(al, dx);
    }

    private void StartModern(int queues)
    {
        foreach (sbyte status in (sbyte[])[0, 1, 3])
            a.mov(__byte_ptr[Window + 0x14], status);
        a.mov(__dword_ptr[Window + 8], 1);
        a.mov(__dword_ptr[Window + 0xC], 1); // VIRTIO_F_VERSION_1
        a.mov(__byte_ptr[Window + 0x14], 11);
        for (int q = 0; q < queues; q++)
        {
            a.mov(__word_ptr[Window + 0x16], (short)q);
            a.mov(__word_ptr[Window + 0x18], QueueSize);
            a.mov(__word_ptr[Window + 0x1A], 0);
            foreach ((int register, int part) in ((int, int)[])[(0x20, 0), (0x28, AvailableAt), (0x30, UsedAt)])
            {
                a.mov(__dword_ptr[Window + register], Queue(q) + part);
                a.mov(__dword_ptr[Window + register + 4], 0);
            }
            a.mov(__word_ptr[Window + 0x1C], 1);
        }
        a.mov(__byte_ptr[Window + 0x14], 15);
    }

    private void StartLegacy(int queues)
    {
        foreach (byte status in (byte[])[0, 1, 3])
            Out8(18, status);
        Out32(4, 0);
        for (int q = 0; q < queues; q++)
        {
            Out16(14, q);
            if (way == VirtioWay.Legacy)
                Out16(22, 0);
            Out32(8, Queue(q) >> 12);
        }
        Out8(18, 7);
    }

    private void PciWrite(int register, int value)
    {
        a.mov(edx, 0xCF8);
        a.mov(eax, unchecked((int)0x8000_0000) | (slot << 11) | register);
        a.@out(dx, eax);
        a.mov(edx, 0xCFC);
        a.mov(eax, value);
        a.@out(dx, eax);
    }

    private void Out8(int offset, int value)
    {
        a.mov(edx, Ports + offset);
        a.mov(al, (sbyte)value);
        a.@out(dx, al);
    }

    private void Out16(int offset, int value)
    {
        a.mov(edx, Ports + offset);
        a.mov(eax, value);
        a.@out(dx, ax);
    }

    private void Out32(int offset, int value)
    {
        a.mov(edx, Ports + offset);
        a.mov(eax, value);
        a.@out(dx, eax);
    }
}
