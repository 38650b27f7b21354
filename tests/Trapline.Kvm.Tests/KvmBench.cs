using Iced.Intel;
using Trapline.Core;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Kvm.Tests;

/// <summary>One vCPU under KVM, 4 MiB of RAM, and a seam that notes what arrives.</summary>
internal sealed class KvmBench : IDisposable
{
    public const ulong Code = 0x8000, Stack = 0x7F00;

    /// <summary>A write to this port kicks the vCPU: <see cref="KvmVcpu.Run"/> returns.</summary>
    public const byte StopPort = 0xF4;

    private readonly KvmVm _vm;

    public KvmBench(CpuModel? model = null, GuestMemory? memory = null)
    {
        Memory = memory ?? GuestMemory.Flat(4 << 20);
        KvmDevice device = KvmDevice.TryOpen(out string? obstacle) ?? throw new InvalidOperationException(obstacle);
        _vm = new KvmVm(device, Memory);
        Cpu = new KvmVcpu(_vm, 0, 1, model ?? CpuModel.Max, Seam, Seam);
        Seam.Owner = Cpu;
    }

    public NotingSeam Seam { get; } = new();

    public GuestMemory Memory { get; }

    public KvmVcpu Cpu { get; }

    public void Load(int bits, Action<Assembler> code, ulong address = Code)
    {
        Assembler assembler = new(bits);
        code(assembler);
        using MemoryStream stream = new();
        assembler.Assemble(new StreamCodeWriter(stream), address);
        Assert.True(Memory.TryWrite(new Gpa(address), stream.ToArray()));
    }

    public void Write(ulong address, ulong value) => Assert.True(Memory.TryWrite(new Gpa(address), BitConverter.GetBytes(value)));

    public ulong Read(ulong address)
    {
        byte[] bytes = new byte[8];
        Assert.True(Memory.TryRead(new Gpa(address), bytes));
        return BitConverter.ToUInt64(bytes);
    }

    /// <summary>Puts the vCPU at <see cref="Code"/>: 16-bit real mode, flat 32-bit or flat 64-bit code, all in ring 0.</summary>
    public void Enter(int bits)
    {
        const uint data = 0x93, code = 0x9B;
        uint big = bits == 32 ? SegmentAttributes.Big | SegmentAttributes.Granular : SegmentAttributes.Granular;
        VcpuState state = VcpuReset.PowerOn(Cpu.Model, isBootProcessor: true);
        SegmentState flat = new(0x10, 0, uint.MaxValue, data | big | SegmentAttributes.Big);
        SegmentState flatCode = new(8, 0, uint.MaxValue, code | big | (bits == 64 ? SegmentAttributes.Long : 0));
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
            segments = [flat, flatCode, flat, flat, flat, flat, state.Segments[6], new SegmentState(0x18, 0x40000, 0x67, 0x8B)];
            cr0 |= Cr0.Pe | Cr0.Ne;
        }
        if (bits == 64)
        {
            // The first GiB maps to itself in pages of 2 MiB.
            Write(0x20000, 0x21003);
            Write(0x21000, 0x22003);
            for (ulong i = 0; i < 512; i++)
                Write(0x22000 + (i * 8), (i << 21) | 0x83);
            msrs[Msr.Efer] = Efer.Lme | Efer.Lma;
            (cr0, cr3, cr4) = (cr0 | Cr0.Pg, 0x20000, Cr4.Pae);
        }
        // Selectors 8 and 10h, as the segment registers hold them; the IDT is at 30000h.
        Write(0x31008, bits == 64 ? 0x00AF_9B00_0000_FFFFul : 0x00CF_9B00_0000_FFFFul);
        Write(0x31010, 0x00CF_9300_0000_FFFF);
        Cpu.Import(state with
        {
            General = general, Rip = Code, Segments = segments, Cr0 = cr0, Cr3 = cr3, Cr4 = cr4, Msrs = msrs,
            Gdtr = new TableState(0x31000, 0x17),
            Idtr = bits == 16 ? new TableState(0, 0x3FF) : new TableState(0x30000, 0xFFF),
        });
        Seam.Notes.Clear();
    }

    /// <summary>Points a vector at a handler, by the table of the mode.</summary>
    public void Handle(int bits, byte vector, ulong at)
    {
        switch (bits)
        {
            case 16:
                Assert.True(Memory.TryWrite(new Gpa(vector * 4u), BitConverter.GetBytes((uint)at)));
                break;
            case 32:
                Write(0x30000 + (vector * 8u), (at & 0xFFFF) | 8 << 16 | 0x8E00ul << 32 | (at >> 16 & 0xFFFF) << 48);
                break;
            default:
                Write(0x30000 + (vector * 16u), (at & 0xFFFF) | 8 << 16 | 0x8E00ul << 32 | (at >> 16 & 0xFFFF) << 48);
                Write(0x30008 + (vector * 16u), at >> 32);
                break;
        }
    }

    public void Dispose()
    {
        Cpu.Dispose();
        _vm.Dispose();
        Memory.Dispose();
    }
}
