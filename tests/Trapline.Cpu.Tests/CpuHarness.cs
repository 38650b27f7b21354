using Trapline.Core;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Cpu.Tests;

/// <summary>Code size of the harness's vCPU. Paging is off, segments are flat, CPL is 0.</summary>
public enum CodeSize
{
    Bits16 = 16,
    Bits32 = 32,
    Bits64 = 64,
}

/// <summary>
/// Runs machine code on a bare <see cref="SoftwareVcpu"/>, instruction by instruction, without the machine or event delivery: a fault stops it
/// and is looked at. 64-bit mode runs with LMA set and paging off, which no real processor allows and every instruction here takes for identity.
/// </summary>
public sealed unsafe class CpuHarness : IDisposable
{
    public const ulong CodeAddress = 0x8000;
    public const ulong MemorySize = 4 << 20;

    private readonly bool _ownsMemory = true;

    public CpuHarness(CodeSize size = CodeSize.Bits64, CpuModel? model = null)
        : this(size, model, GuestMemory.Flat(MemorySize))
    {
    }

    /// <summary>A second vCPU on the memory of another.</summary>
    public CpuHarness(CpuHarness first)
        : this(first.Size, null, first.Memory) => _ownsMemory = false;

    /// <summary>With a machine of the test's own.</summary>
    public CpuHarness(CodeSize size, GuestMemory memory, IIoSeam machine)
        : this(size, null, memory, machine) => _ownsMemory = false;

    private CpuHarness(CodeSize size, CpuModel? model, GuestMemory memory, IIoSeam? machine = null)
    {
        Size = size;
        Memory = memory;
        Cpu = new SoftwareVcpu(0, Memory, model ?? CpuModel.Max, machine ?? new OpenBus(), new NoInterrupts());
        Reset();
    }

    public CodeSize Size { get; }
    public GuestMemory Memory { get; }
    public SoftwareVcpu Cpu { get; }
    public CpuState* State => Cpu.State;

    /// <summary>The fault that stopped the last <see cref="Run"/>; null if none.</summary>
    public PendingFault? Fault { get; private set; }

    /// <summary>Host address of guest memory.</summary>
    public byte* At(ulong address) => Memory.BackingBase + address;

    public void Reset()
    {
        CpuState* s = State;
        *s = new CpuState { ReadTlb = s->ReadTlb, WriteTlb = s->WriteTlb, CodeEpoch = s->CodeEpoch };
        s->Cr0 = Cr0.Pe | Cr0.Et | Cr0.Ne;
        s->Cr4 = Cr4.OsFxsr | Cr4.OsXmmExcpt | Cr4.OsXsave | Cr4.Pae;
        s->Xcr0 = 7;
        s->Mxcsr = 0x1F80;
        s->Fcw = 0x37F;
        if (Size == CodeSize.Bits64)
            s->Efer = Efer.Lme | Efer.Lma | Efer.Nxe | Efer.Sce;
        uint big = Size switch { CodeSize.Bits16 => 0u, CodeSize.Bits32 => SegmentAttributes.Big, _ => SegmentAttributes.Long };
        uint limit = Size == CodeSize.Bits16 ? 0xFFFFu : uint.MaxValue;
        const uint Common = SegmentAttributes.Present | SegmentAttributes.NotSystem | SegmentAttributes.Writable | SegmentAttributes.Accessed;
        for (int i = 0; i < 6; i++)
        {
            SegmentRegister* segment = &s->Es + i;
            segment->Limit = limit;
            segment->Attributes = Common | (i == SegmentIndex.Cs ? big | SegmentAttributes.Code : Size == CodeSize.Bits32 ? SegmentAttributes.Big : 0);
            SoftwareVcpu.SegmentLoaded(segment);
        }
        Flags.Set(s, 2);
        s->Gpr[4] = 0x7000;
        s->Rip = CodeAddress;
        Cpu.ModeChanged();
        Cpu.Mmu.FlushAll();
        s->Attention = 0;
    }

    /// <summary>Ring 3 with paging: the first 2 MiB map to themselves, but for one page. The tables are at 0x20000.</summary>
    public void PageWithout(ulong absent)
    {
        const ulong Pml4 = 0x20000, Pointers = 0x21000, Directory = 0x22000, Table = 0x23000, UserWritable = 7;
        CpuState* s = State;
        *(ulong*)At(Pml4) = Pointers | UserWritable;
        *(ulong*)At(Pointers) = Directory | UserWritable;
        *(ulong*)At(Directory) = Table | UserWritable;
        for (ulong page = 0; page < 512; page++)
            ((ulong*)At(Table))[page] = page << 12 == absent ? 0 : page << 12 | UserWritable;
        s->Cr3 = Pml4;
        s->Pdpte[0] = Directory | 1; // outside long mode these registers are the top level
        s->Cr0 |= Cr0.Pg | Cr0.Wp;
        s->Cpl = 3;
        Cpu.ModeChanged();
        Cpu.Mmu.FlushAll();
        s->Attention = 0;
    }

    public void Load(ulong address, ReadOnlySpan<byte> bytes) => Memory.TryLoad(new Gpa(address), bytes);

    /// <summary>Runs code from RIP to the end of <paramref name="code"/>, a fault, or <paramref name="steps"/> instructions.</summary>
    /// <returns>Instructions completed; a REP that pauses counts each time.</returns>
    public int Run(ReadOnlySpan<byte> code, int steps = 1_000_000)
    {
        ulong start = State->Rip, end = start + (ulong)code.Length;
        Load(start, code);
        Fault = null;
        int done = 0;
        while (State->Rip >= start && State->Rip < end && done < steps && Step())
            done++;
        return done;
    }

    /// <summary>Runs one instruction. False: it faulted, and RIP is still at it.</summary>
    public bool Step()
    {
        bool done = Cpu.Step(out PendingFault fault);
        Fault = done ? null : fault;
        return done;
    }

    public void Dispose()
    {
        Cpu.Dispose();
        if (_ownsMemory)
            Memory.Dispose();
    }

    private sealed class OpenBus : IIoSeam
    {
        public uint PortIn(int vcpu, ushort port, int size) => uint.MaxValue;
        public void PortOut(int vcpu, ushort port, int size, uint value) { }
        public ulong MmioRead(int vcpu, Gpa address, int size) => ulong.MaxValue;
        public void MmioWrite(int vcpu, Gpa address, int size, ulong value) { }
        public bool ReadMsr(int vcpu, uint index, out ulong value)
        {
            value = 0;
            return false;
        }
        public bool WriteMsr(int vcpu, uint index, ulong value) => false;
        public byte ReadCr8(int vcpu) => 0;
        public void WriteCr8(int vcpu, byte value) { }
        public void Hypercall(int vcpu, Span<ulong> registers, bool is64) { }
        public void TimeStampOffsetChanged(int vcpu, ulong offset) { }
        public ulong TimeStampCounter => 0;
    }

    private sealed class NoInterrupts : IInterruptSource
    {
        public bool Pending => false;
        public int Acknowledge() => -1;
    }
}
