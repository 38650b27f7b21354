using Iced.Intel;
using Trapline.Core;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Testing;

/// <summary>A small guest without an operating system: code, tables and stack at fixed places of 4 MiB of RAM, in 16-, 32- or 64-bit mode.</summary>
public sealed class FlatGuest(GuestMemory memory)
{
    public const ulong Code = 0x8000, Stack = 0x7F00, Idt = 0x30000, Gdt = 0x31000, Tss = 0x40000;
    public const ushort CodeSelector = 8, DataSelector = 0x10, TssSelector = 0x18, UserDataSelector = 0x2B, UserCodeSelector = 0x33;

    private const ulong Tables = 0x20000;

    public GuestMemory Memory => memory;

    public void Load(int bits, Action<Assembler> code, ulong address = Code)
    {
        Assembler assembler = new(bits);
        code(assembler);
        using MemoryStream stream = new();
        assembler.Assemble(new StreamCodeWriter(stream), address);
        Assert.True(memory.TryWrite(new Gpa(address), stream.ToArray()));
    }

    public void Write(ulong address, ulong value) => Assert.True(memory.TryWrite(new Gpa(address), BitConverter.GetBytes(value)));

    public ulong Read(ulong address)
    {
        byte[] bytes = new byte[8];
        Assert.True(memory.TryRead(new Gpa(address), bytes));
        return BitConverter.ToUInt64(bytes);
    }

    /// <summary>Writes the tables of a mode, and says in what state a vCPU begins at <see cref="Code"/>: ring 0, flat segments, interrupts off.</summary>
    public VcpuState Enter(int bits, CpuModel model)
    {
        const uint data = 0x93 | SegmentAttributes.Big | SegmentAttributes.Granular, code = 0x9B | SegmentAttributes.Granular;
        VcpuState state = VcpuReset.PowerOn(model, isBootProcessor: true);
        SegmentState flat = new(DataSelector, 0, uint.MaxValue, data);
        SegmentState flatCode = new(CodeSelector, 0, uint.MaxValue, code | (bits == 64 ? SegmentAttributes.Long : SegmentAttributes.Big));
        ulong[] general = new ulong[16];
        general[4] = Stack;
        Dictionary<uint, ulong> msrs = new(state.Msrs);
        ulong cr0 = Cr0.Et, cr3 = 0, cr4 = 0;
        SegmentState[] segments = [.. state.Segments];
        if (bits == 16)
        {
            segments[SegmentIndex.Cs] = new SegmentState(0, 0, 0xFFFF, 0x9B);
        }
        else
        {
            segments = [flat, flatCode, flat, flat, flat, flat, state.Segments[SegmentIndex.Ldtr], new SegmentState(TssSelector, Tss, 0x67, 0x8B)];
            cr0 |= Cr0.Pe | Cr0.Ne;
            WriteDescriptors(bits);
        }
        if (bits == 64)
        {
            // The first GiB maps to itself in pages of 2 MiB, for everybody.
            Write(Tables, (Tables + 0x1000) | 7);
            Write(Tables + 0x1000, (Tables + 0x2000) | 7);
            for (ulong i = 0; i < 512; i++)
                Write(Tables + 0x2000 + (i * 8), (i << 21) | 0x87);
            msrs[Msr.Efer] = Efer.Lme | Efer.Lma;
            (cr0, cr3, cr4) = (cr0 | Cr0.Pg, Tables, Cr4.Pae);
        }
        return state with
        {
            General = general,
            Rip = Code,
            Segments = segments,
            Cr0 = cr0,
            Cr3 = cr3,
            Cr4 = cr4,
            Msrs = msrs,
            Gdtr = new TableState(Gdt, 0x37),
            Idtr = bits == 16 ? new TableState(0, 0x3FF) : new TableState(Idt, 0xFFF),
        };
    }

    /// <summary>Points a vector at a handler, by the table of the mode.</summary>
    /// <param name="ring">Who may call it by INT n.</param>
    public void Handle(int bits, byte vector, ulong at, uint ring = 0)
    {
        ulong gate = (at & 0xFFFF) | (ulong)CodeSelector << 16 | (0x8E00ul | (ring << 13)) << 32 | (at >> 16 & 0xFFFF) << 48;
        switch (bits)
        {
            case 16:
                Assert.True(memory.TryWrite(new Gpa(vector * 4u), BitConverter.GetBytes((uint)at)));
                break;
            case 32:
                Write(Idt + (vector * 8u), gate);
                break;
            default:
                Write(Idt + (vector * 16u), gate);
                Write(Idt + (vector * 16u) + 8, at >> 32);
                break;
        }
    }

    private void WriteDescriptors(int bits)
    {
        bool wide = bits == 64;
        Write(Gdt + CodeSelector, wide ? 0x00AF_9B00_0000_FFFFul : 0x00CF_9B00_0000_FFFF);
        Write(Gdt + DataSelector, 0x00CF_9300_0000_FFFF);
        Write(Gdt + TssSelector, 0x0000_8B00_0000_0067 | (Tss & 0xFFFFFF) << 16);
        Write(Gdt + TssSelector + 8, 0);
        Write(Gdt + UserDataSelector - 3, 0x00CF_F300_0000_FFFF);
        Write(Gdt + UserCodeSelector - 3, wide ? 0x00AF_FB00_0000_FFFFul : 0x00CF_FB00_0000_FFFF);
        // The stack of ring 0, where the TSS of the mode has it; no I/O bitmap.
        Write(Tss + 4, wide ? Stack - 0x1000 : (Stack - 0x1000) | (ulong)DataSelector << 32);
        Write(Tss + 0x60, 0x0068_0000_0000_0000);
    }
}
