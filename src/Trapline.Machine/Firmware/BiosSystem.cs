using System.Buffers.Binary;
using Trapline.Core;

namespace Trapline.Machine.Firmware;

/// <summary>INT 11h, 12h, 15h and 1Ah: equipment, memory sizes and map, delays, time.</summary>
internal sealed class BiosSystem(MemoryLayout layout, PortBus ports, IGuestClock clock)
{
    /// <summary>A coprocessor, 80 columns of text, one serial port.</summary>
    public const ushort Equipment = 0x0222;

    private const uint Smap = 0x534D_4150;
    private const byte NotSupported = 0x86;

    private long _waitUntil = -1;

    /// <summary>Guest time at which a delay that the guest waits for ends, -1 for none.</summary>
    public long WaitUntil
    {
        get => _waitUntil;
        set => _waitUntil = value;
    }

    public void Serve(ref BiosFrame frame)
    {
        switch (frame.Vector)
        {
            case 0x11:
                frame.Ax = Equipment;
                break;
            case 0x12:
                frame.Ax = (ushort)(MemoryLayout.BaseMemoryEnd >> 10);
                break;
            default:
                Time(ref frame);
                break;
        }
    }

    /// <summary>INT 15h. False: still waiting.</summary>
    public bool Extended(ref BiosFrame frame)
    {
        frame.Carry = false;
        ulong extended = layout.LowEnd - 0x10_0000;
        switch (frame.Ax)
        {
            case 0xE820:
                Map(ref frame);
                return true;
            case 0xE801:
                frame.Ax = frame.Cx = (ushort)Math.Min(extended >> 10, 0x3C00);
                frame.Bx = frame.Dx = (ushort)(extended > 0xF0_0000 ? (extended - 0xF0_0000) >> 16 : 0);
                return true;
            case 0x2400 or 0x2401:
                frame.Ah = 0; // A20 is always open
                return true;
            case 0x2402:
                frame.Ax = 1;
                return true;
            case 0x2403:
                frame.Ah = 0;
                frame.Bx = 3;
                return true;
        }
        switch (frame.Ah)
        {
            case 0x86:
                return Wait(ref frame);
            case 0x87:
                MoveBlock(ref frame);
                return true;
            case 0x88:
                frame.Ax = (ushort)Math.Min(extended >> 10, 0xFC00);
                return true;
            default:
                frame.Fail(NotSupported);
                return true;
        }
    }

    private void Map(ref BiosFrame frame)
    {
        IReadOnlyList<MemoryMapEntry> map = layout.Map;
        if (frame.Edx != Smap || frame.Ebx >= map.Count || frame.Ecx < 20)
        {
            frame.Fail(NotSupported);
            return;
        }
        MemoryMapEntry entry = map[(int)frame.Ebx];
        Span<byte> bytes = stackalloc byte[20];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, entry.Start);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[8..], entry.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[16..], (uint)entry.Type);
        frame.Memory.TryWrite(frame.EsDi, bytes);
        frame.Eax = Smap;
        frame.Ecx = 20;
        frame.Ebx = frame.Ebx + 1 < map.Count ? frame.Ebx + 1 : 0;
    }

    private bool Wait(ref BiosFrame frame)
    {
        long now = clock.Nanoseconds;
        if (_waitUntil < 0)
            _waitUntil = now + ((((long)frame.Cx << 16) | frame.Dx) * 1000);
        if (now < _waitUntil)
            return false;
        _waitUntil = -1;
        return true;
    }

    /// <summary>Function 87h: source and destination are the third and fourth descriptor of a table at ES:SI; CX words.</summary>
    private static void MoveBlock(ref BiosFrame frame)
    {
        Span<byte> table = stackalloc byte[0x20];
        Span<byte> chunk = stackalloc byte[512];
        if (!frame.Memory.TryRead(frame.EsSi, table))
        {
            frame.Fail(1);
            return;
        }
        ulong source = Address(table[0x10..]), destination = Address(table[0x18..]);
        for (int left = frame.Cx * 2; left > 0; left -= chunk.Length)
        {
            Span<byte> part = chunk[..Math.Min(left, chunk.Length)];
            if (!frame.Memory.TryRead(new Gpa(source), part) || !frame.Memory.TryWrite(new Gpa(destination), part))
            {
                frame.Fail(1);
                return;
            }
            source += (uint)part.Length;
            destination += (uint)part.Length;
        }
        frame.Ah = 0;
    }

    private static ulong Address(ReadOnlySpan<byte> descriptor) =>
        (BinaryPrimitives.ReadUInt32LittleEndian(descriptor[2..]) & 0xFF_FFFF) | ((ulong)descriptor[7] << 24);

    private void Time(ref BiosFrame frame)
    {
        frame.Carry = false;
        Span<byte> ticks = stackalloc byte[5];
        switch (frame.Ah)
        {
            case 0x00:
                frame.Memory.TryRead(new Gpa(0x46C), ticks);
                (frame.Dx, frame.Cx) = (BinaryPrimitives.ReadUInt16LittleEndian(ticks), BinaryPrimitives.ReadUInt16LittleEndian(ticks[2..]));
                frame.Al = ticks[4];
                frame.Memory.TryWrite(new Gpa(0x470), [0]);
                break;
            case 0x01:
                BinaryPrimitives.WriteUInt32LittleEndian(ticks, ((uint)frame.Cx << 16) | frame.Dx);
                frame.Memory.TryWrite(new Gpa(0x46C), ticks);
                break;
            case 0x02:
                frame.Cx = (ushort)((Cmos(4) << 8) | Cmos(2));
                frame.Dx = (ushort)(Cmos(0) << 8);
                break;
            case 0x04:
                frame.Cx = (ushort)((Cmos(0x32) << 8) | Cmos(9));
                frame.Dx = (ushort)((Cmos(8) << 8) | Cmos(7));
                break;
            default:
                frame.Fail(NotSupported);
                break;
        }
    }

    private byte Cmos(byte index)
    {
        ports.Write(0, 0x70, 1, index, out _, out _);
        return (byte)ports.Read(0, 0x71, 1, out _, out _);
    }
}
