using Iced.Intel;
using Trapline.Core;
using Trapline.Cpu.Translator;
using Trapline.Host;
using Trapline.Memory;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;
using Assembler = Iced.Intel.Assembler;

namespace Trapline.Cpu.Tests.Translator;

/// <summary>
/// A vCPU in 64-bit mode with paging that runs whole programs by <see cref="SoftwareVcpu.Run"/>, as a machine would: the first 2 MiB map to
/// themselves in 4 KiB pages. A program ends with <see cref="End"/>; a fault, having no IDT, ends it as a shutdown.
/// </summary>
internal sealed unsafe class TranslatedGuest : IDisposable
{
    public const ulong Code = 0x8000, Stack = 0x7F00, Data = 0x10000;
    private const ulong Tables = 0x20000, UserWritable = 7, Global = 0x100;

    private readonly Seam _seam = new();

    public TranslatedGuest(bool translate = true, int ring = 3, bool global = true, CpuModel? model = null, ulong? timeLead = null)
    {
        _seam.TimeStampLead = timeLead;
        Memory = GuestMemory.Flat(4 << 20);
        Cpu = new SoftwareVcpu(0, Memory, model ?? CpuModel.Max, _seam, _seam);
        _seam.Owner = Cpu;
        if (translate)
            Assert.True(Cpu.EnableTranslator(new TranslatorOptions { Clock = timeLead == null ? 0 : HostTime.MonotonicReader }), SoftwareVcpu.TranslatorObstacle);
        BuildTables(Tables, global);
        CpuState* s = Cpu.State;
        s->Cr0 = Cr0.Pe | Cr0.Et | Cr0.Ne | Cr0.Pg | Cr0.Wp;
        s->Cr4 = Cr4.OsFxsr | Cr4.OsXmmExcpt | Cr4.OsXsave | Cr4.Pae | Cr4.Pge;
        s->Xcr0 = 7;
        s->Mxcsr = 0x1F80;
        s->Fcw = 0x37F;
        s->FpuTags = 0;
        s->Efer = Efer.Lme | Efer.Lma | Efer.Nxe | Efer.Sce;
        s->Cr3 = Tables;
        s->IdtrLimit = s->GdtrLimit = 0;
        for (int i = 0; i < 6; i++)
        {
            SegmentRegister* segment = &s->Es + i;
            segment->Limit = uint.MaxValue;
            segment->Attributes = SegmentAttributes.Present | SegmentAttributes.NotSystem | SegmentAttributes.Writable | SegmentAttributes.Accessed
                | SegmentAttributes.DplMask | (i == SegmentIndex.Cs ? SegmentAttributes.Long | SegmentAttributes.Code : 0);
            SoftwareVcpu.SegmentLoaded(segment);
        }
        Ring(ring);
        Cpu.Mmu.FlushAll();
        s->Attention = 0;
    }

    public GuestMemory Memory { get; }
    public SoftwareVcpu Cpu { get; }
    public CpuState* State => Cpu.State;
    public byte* At(ulong address) => Memory.BackingBase + address;

    /// <summary>Called at an OUT to port 0x10, on the vCPU's thread.</summary>
    public Action? AtOut { set => _seam.AtOut = value; }

    /// <summary>An interrupt controller asks for a vector, from any thread.</summary>
    public void Interrupt(byte vector)
    {
        _seam.Vector = vector;
        Cpu.InterruptPending();
    }

    /// <summary>Gives an exception or interrupt a handler in ring 0. Programs that use this run in ring 0.</summary>
    public void Handle(byte vector, ulong at, Action<Assembler> handler)
    {
        const ulong Idt = 0x30000, Gdt = 0x31000;
        CpuState* s = State;
        (s->IdtrBase, s->IdtrLimit, s->GdtrBase, s->GdtrLimit) = (Idt, 0xFFF, Gdt, 15);
        *(ulong*)At(Gdt + 8) = 0x00AF_9B00_0000_FFFF; // 64-bit code, ring 0
        s->Cs.Selector = 8;
        *(ulong*)At(Idt + vector * 16u) = (at & 0xFFFF) | 8 << 16 | 0x8E00ul << 32 | (at >> 16 & 0xFFFF) << 48;
        *(ulong*)At(Idt + vector * 16u + 8) = at >> 32;
        Load(handler, at);
    }

    /// <summary>From now on in 32-bit code (compatibility mode) with flat segments, or again in 64-bit code.</summary>
    public void SetCode32(bool code32 = true)
    {
        CpuState* s = State;
        for (int i = 0; i < 6; i++)
        {
            SegmentRegister* segment = &s->Es + i;
            uint others = segment->Attributes & ~(SegmentAttributes.Big | SegmentAttributes.Long);
            segment->Attributes = others | (code32 || i != SegmentIndex.Cs ? SegmentAttributes.Big : SegmentAttributes.Long);
            segment->Base = 0;
            SoftwareVcpu.SegmentLoaded(segment);
        }
        Cpu.ModeChanged();
    }

    /// <summary>Maps a page beyond the first 2 MiB to a frame, writable for ring 3. In each GiB all within the same 2 MiB.</summary>
    public void Map(ulong address, ulong frame)
    {
        ulong tables = 0x40000 + (address >> 30) * 0x2000;
        *(ulong*)At(Tables + 0x1000 + (address >> 30 & 511) * 8) = tables | UserWritable;
        *(ulong*)At(tables + (address >> 21 & 511) * 8) = (tables + 0x1000) | UserWritable;
        *(ulong*)At(tables + 0x1000 + (address >> 12 & 511) * 8) = frame | UserWritable;
    }

    public void Ring(int ring)
    {
        State->Cpl = ring;
        Flags.Set(State, Rflags.Fixed | 3ul << 12); // IOPL 3
        Cpu.ModeChanged();
    }

    /// <summary>The page-table entry of an address below 2 MiB, in the tables that begin at <paramref name="root"/>.</summary>
    public ref ulong Entry(ulong address, ulong root = Tables) => ref ((ulong*)At(root + 0x3000))[address >> 12];

    /// <summary>Identity tables of four pages.</summary>
    public void BuildTables(ulong root, bool global)
    {
        *(ulong*)At(root) = (root + 0x1000) | UserWritable;
        *(ulong*)At(root + 0x1000) = (root + 0x2000) | UserWritable;
        *(ulong*)At(root + 0x2000) = (root + 0x3000) | UserWritable;
        for (ulong page = 0; page < 512; page++)
            Entry(page << 12, root) = page << 12 | UserWritable | (global ? Global : 0);
    }

    public static byte[] Assemble(Action<Assembler> program, ulong at = Code, int bits = 64)
    {
        Assembler a = new(bits);
        program(a);
        using MemoryStream stream = new();
        a.Assemble(new StreamCodeWriter(stream), at);
        return stream.ToArray();
    }

    public void Load(Action<Assembler> program, ulong at = Code) => Load(Assemble(program, at), at);

    public void Load(ReadOnlySpan<byte> bytes, ulong at = Code) => Assert.True(Memory.TryWrite(new Gpa(at), bytes));

    /// <summary>Ends the program: the run returns at the next instruction.</summary>
    public static void End(Assembler a) => a.@out(0xF4, al);

    /// <summary>Runs from <see cref="Code"/> until the program ends.</summary>
    public StopReason Run(ulong at = Code)
    {
        State->Rip = at;
        State->Gpr[4] = Stack;
        return Cpu.Run();
    }

    /// <summary>Runs often enough that everything on the way is translated.</summary>
    public void Warm(ulong at = Code)
    {
        for (int i = 0; i < 2 * TranslatorOptions.WarmAfter; i++)
            Assert.Equal(StopReason.Kicked, Run(at));
    }

    public void Dispose()
    {
        Cpu.Dispose();
        Memory.Dispose();
    }

    private sealed class Seam : IIoSeam, IInterruptSource
    {
        public SoftwareVcpu? Owner { get; set; }
        public Action? AtOut { get; set; }

        public uint PortIn(int vcpu, ushort port, int size) => uint.MaxValue;

        public void PortOut(int vcpu, ushort port, int size, uint value)
        {
            if (port == 0x10)
                AtOut?.Invoke();
            else
                Owner!.Kick();
        }

        public ulong MmioRead(int vcpu, Gpa address, int size) => ulong.MaxValue;
        public void MmioWrite(int vcpu, Gpa address, int size, ulong value) { }
        public bool ReadMsr(int vcpu, uint index, out ulong value) { value = 0; return false; }
        public bool WriteMsr(int vcpu, uint index, ulong value) => false;
        public byte ReadCr8(int vcpu) => 0;
        public void WriteCr8(int vcpu, byte value) { }
        public void Hypercall(int vcpu, Span<ulong> registers, bool is64) { }
        public void TimeStampOffsetChanged(int vcpu, ulong offset) { }
        /// <summary>Two more at each look; begins so that both halves of the result are in use.</summary>
        public ulong TimeStampCounter => _time += 2;

        public ulong? TimeStampLead { get; set; }

        private ulong _time = 0x1_FFFF_FF00;
        public int Vector { get; set; } = -1;
        public bool Pending => Vector >= 0;

        public int Acknowledge()
        {
            int vector = Vector;
            Vector = -1;
            return vector;
        }
    }
}

/// <summary>A fact about emitted code, for hosts that can run it.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class TranslatorFactAttribute : FactAttribute
{
    public TranslatorFactAttribute() => Skip = SoftwareVcpu.TranslatorObstacle;
}

/// <summary>A theory about emitted code, for hosts that can run it.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class TranslatorTheoryAttribute : TheoryAttribute
{
    public TranslatorTheoryAttribute() => Skip = SoftwareVcpu.TranslatorObstacle;
}
