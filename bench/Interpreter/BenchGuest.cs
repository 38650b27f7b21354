using Iced.Intel;
using Trapline.Core;
using Trapline.Cpu;
using Trapline.Cpu.Translator;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Bench;

/// <summary>A vCPU in 64-bit user mode with paging on and nothing around it. Guest code ends a run with OUT, which IOPL 3 lets it do.</summary>
public sealed unsafe class BenchGuest : IIoSeam, IInterruptSource, IDisposable
{
    public const ulong Code = 0x10_0000;
    public const ulong Stack = 0x20_0000;
    public const ulong Data = 0x40_0000;
    private const ulong Tables = 0x1000;
    private const ulong Mapped = 32 << 20;

    private readonly GuestMemory _memory = GuestMemory.Flat(Mapped);
    private readonly SoftwareVcpu _cpu;

    /// <param name="translate">By the translator, which here counts instructions.</param>
    public BenchGuest(bool translate)
    {
        _cpu = new SoftwareVcpu(0, _memory, CpuModel.Max, this, this);
        if (translate && !_cpu.EnableTranslator(new TranslatorOptions(Count: true)))
            throw new InvalidOperationException(_cpu.Shortcoming);
        BuildTables();
    }

    /// <summary>Identity map of 4 KiB user pages.</summary>
    private void BuildTables()
    {
        const ulong Rights = 7; // present, writable, user
        ulong* root = (ulong*)(_memory.BackingBase + Tables);
        root[0] = (Tables + 0x1000) | Rights;
        root[512] = (Tables + 0x2000) | Rights;
        ulong* leaves = (ulong*)(_memory.BackingBase + Tables + 0x3000);
        for (ulong page = 0; page < Mapped >> 12; page++)
        {
            if (page % 512 == 0)
                root[1024 + page / 512] = (Tables + 0x3000 + page / 512 * 0x1000) | Rights;
            leaves[page] = (page << 12) | Rights;
        }
    }

    public byte* At(ulong address) => _memory.BackingBase + address;

    public long Instructions => _cpu.Counters.Instructions;

    /// <summary>Assembles a program; <see cref="Run"/> starts it with RDI at <see cref="Data"/> and expects its result in RAX.</summary>
    public void Load(Action<Assembler> program)
    {
        Assembler a = new(64);
        program(a);
        a.@out(0xF4, AssemblerRegisters.al);
        using MemoryStream stream = new();
        a.Assemble(new StreamCodeWriter(stream), Code);
        _memory.TryLoad(new Gpa(Code), stream.ToArray());
    }

    public ulong Run()
    {
        ulong[] general = new ulong[16];
        general[4] = Stack;
        general[7] = Data;
        SegmentState data = new(0x2B, 0, uint.MaxValue, 0xC0F3);
        _cpu.Import(new VcpuState
        {
            General = general,
            Rip = Code,
            Rflags = 0x3202,
            Segments = [data, new SegmentState(0x33, 0, uint.MaxValue, 0xA0FB), data, data, data, data, new(0, 0, 0, 0x1_0082), new(0x40, 0, 0x67, 0x8B)],
            Cr0 = Cr0.Pe | Cr0.Pg | Cr0.Ne | Cr0.Wp | Cr0.Mp,
            Cr3 = Tables,
            Cr4 = Cr4.Pae | Cr4.OsFxsr | Cr4.OsXmmExcpt,
            Msrs = new Dictionary<uint, ulong> { [Msr.Efer] = Efer.Lme | Efer.Lma | Efer.Sce | Efer.Nxe },
        });
        StopReason reason = _cpu.Run();
        if (reason != StopReason.Kicked)
            throw new InvalidOperationException($"the guest stopped: {reason}");
        return _cpu.State->Gpr[0];
    }

    public void PortOut(int vcpu, ushort port, int size, uint value) => _cpu.Kick();
    public uint PortIn(int vcpu, ushort port, int size) => uint.MaxValue;
    public ulong MmioRead(int vcpu, Gpa address, int size) => ulong.MaxValue;
    public void MmioWrite(int vcpu, Gpa address, int size, ulong value) { }
    public bool WriteMsr(int vcpu, uint index, ulong value) => false;
    public byte ReadCr8(int vcpu) => 0;
    public void WriteCr8(int vcpu, byte value) { }
    public void Hypercall(int vcpu, Span<ulong> registers, bool is64) { }
    public void TimeStampOffsetChanged(int vcpu, ulong offset) { }
    public ulong TimeStampCounter => 0;
    public bool Pending => false;
    public int Acknowledge() => -1;

    public bool ReadMsr(int vcpu, uint index, out ulong value)
    {
        value = 0;
        return false;
    }

    public void Dispose()
    {
        _cpu.Dispose();
        _memory.Dispose();
    }
}
