using Trapline.Core;
using Trapline.Cpu;
using Trapline.Cpu.Interpreter;
using Trapline.Cpu.Translator;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Fuzz;

/// <summary>A software vCPU in ring 3 with the oracle's address space: runs one case and gives the state after it.</summary>
public sealed unsafe class EngineUnderTest : IDisposable
{
    private const ulong CodeFrame = 0x20_0000;
    private const ulong DataFrame = 0x30_0000;

    /// <summary>
    /// Where 64-bit code is that may move, with the oracle's <see cref="NativeOracle.CodeBase"/> beyond it: no small multiple of an address that cases use,
    /// for the host has nothing there.
    /// </summary>
    private const ulong FarCode = 0x2B5A_4000_0000;

    private readonly GuestMemory _memory = GuestMemory.Flat(8 << 20);
    private readonly SoftwareVcpu _cpu;

    /// <summary>For every engine made from now on.</summary>
    public static TranslatorOptions Options { get; set; } = new();

    private readonly bool _translate;
    private int _variant;

    /// <param name="translate">Run by translation what the translator takes, alternately with and without stack windows.</param>
    /// <param name="lockstep">For <see cref="RunSequence"/>.</param>
    public EngineUnderTest(bool translate = false, bool lockstep = false)
    {
        _cpu = new SoftwareVcpu(0, _memory, CpuModel.Max, new NoMachine(), new NoMachine());
        _translate = translate && _cpu.EnableTranslator(Options);
        if (lockstep && !_cpu.EnableLockstep(Options))
            throw new InvalidOperationException(SoftwareVcpu.TranslatorObstacle);
        // PML4 at 0x1000, PDPT 0x2000, PD 0x3000, PTs 0x4000 (data) and 0x5000 (code).
        Entry(0x1000, 0x2000 | 7);
        Entry(0x2000, 0x3000 | 7);
        Entry(0x3000 + (NativeOracle.DataBase >> 21) * 8, 0x4000 | 7);
        Entry(0x3000 + (NativeOracle.CodeBase >> 21) * 8, 0x5000 | 7);
        // The code again, beyond 4 GiB.
        Entry(0x1000 + (FarCode >> 39) * 8, 0x7000 | 7);
        Entry(0x7000 + (FarCode >> 30 & 511) * 8, 0x6000 | 7);
        Entry(0x6000 + (NativeOracle.CodeBase >> 21) * 8, 0x5000 | 7);
        for (ulong page = 0; page < 2; page++)
        {
            Entry(0x4000 + page * 8, DataFrame + page * 4096 | 7);
            Entry(0x5000 + page * 8, CodeFrame + page * 4096 | 7);
        }
        new Span<byte>(_memory.BackingBase + CodeFrame, 0x2000).Fill(0x90);
        CpuState* s = _cpu.State;
        s->Cr0 = Cr0.Pe | Cr0.Mp | Cr0.Et | Cr0.Ne | Cr0.Wp | Cr0.Am | Cr0.Pg;
        s->Cr3 = 0x1000;
        s->Cr4 = Cr4.Pae | Cr4.Pge | Cr4.OsFxsr | Cr4.OsXmmExcpt | Cr4.OsXsave | Cr4.FsGsBase | Cr4.Umip;
        s->Efer = Efer.Sce | Efer.Lme | Efer.Lma | Efer.Nxe;
        s->Xcr0 = 7;
        s->Cpl = 3;
    }

    /// <summary>Runs the case; <paramref name="vector"/> is 1 if it completed.</summary>
    public void Run(NativeTest* test, NativeState* result, out uint vector, out uint errorCode, out ulong address)
    {
        CpuState* s = _cpu.State;
        NativeState* state = &test->In;
        ulong codeOffset = CodeFrame + (state->Rip - NativeOracle.CodeBase);
        _memory.TryWrite(new Gpa(codeOffset), new ReadOnlySpan<byte>(test->Code, (int)test->Length));
        new ReadOnlySpan<byte>(state->Data, NativeState.DataSize).CopyTo(new Span<byte>(_memory.BackingBase + DataFrame, NativeState.DataSize));
        _memory.NoteWrite(DataFrame, DataFrame, 4096);
        Load(s, state, test->Bits);
        // The oracle single-steps, which a gather that faults half-way shows. REP is stepped by its loop here and there.
        if (test->Repeats == 0)
            s->RFlags |= Rflags.Tf;
        s->Attention = 0;
        _cpu.ModeChanged();
        PendingFault fault;
        bool completed;
        int guard = 0, variant = _variant++;
        do
            completed = _translate ? _cpu.StepTranslated((variant & 1) != 0, (variant & 2) != 0, out fault) : _cpu.Step(out fault);
        while (completed && test->Repeats != 0 && s->Rip == state->Rip && ++guard < 100000);
        Save(s, result);
        // Translated code does not keep flags that nothing reads: a fault handler may see others.
        if (_translate && !completed && (variant & 2) == 0)
            result->Rflags = result->Rflags & ~Rflags.Arithmetic | state->Rflags & Rflags.Arithmetic;
        vector = completed ? 1 : (uint)fault.Vector;
        errorCode = fault.ErrorCode;
        address = fault.Address;
    }

    /// <summary>
    /// Runs a program in lockstep under random circumstances: with and without stack windows, with all flags kept, a cold TLB, an emptied code cache,
    /// attention wanted. Null: interpreter and translator agree.
    /// </summary>
    public string? RunSequence(NativeState* state, ReadOnlySpan<byte> code, RandomSource random, int bits)
    {
        CpuState* s = _cpu.State;
        ulong start = state->Rip, end;
        _memory.TryWrite(new Gpa(CodeFrame + (start - NativeOracle.CodeBase)), code);
        new ReadOnlySpan<byte>(state->Data, NativeState.DataSize).CopyTo(new Span<byte>(_memory.BackingBase + DataFrame, NativeState.DataSize));
        _memory.NoteWrite(DataFrame, DataFrame, 4096);
        Load(s, state, (uint)bits);
        if (bits == 32)
            Segments(s, random);
        else if (random.OneIn(2))
            s->Rip = start += FarCode;
        end = start + (ulong)code.Length;
        _cpu.ModeChanged();
        if (random.OneIn(16))
            _cpu.Mmu.FlushAll();
        if (random.OneIn(64))
            _cpu.Translator!.Flush();
        for (int step = 0; step < 24 && s->Rip >= start && s->Rip < end; step++)
        {
            s->Attention = random.OneIn(16) ? 1 : 0;
            s->Calm = 0;
            bool moved = start > FarCode && random.OneIn(2);
            string? difference = _cpu.StepCompared(random.OneIn(3), !moved && random.OneIn(3), moved ? (ulong)(random.Below(1 << 20) + 1) << 12 : 0, random.OneIn(3) ? 1 + random.Below(12) : 0, out bool completed);
            if (difference != null || !completed)
                return difference;
        }
        s->Attention = 0;
        return null;
    }

    /// <summary>FS and GS with bases near 0, some of them below it; now and then one that ends early, or a data segment that is not flat.</summary>
    private static void Segments(CpuState* s, RandomSource random)
    {
        s->Fs.Base = (uint)(64 - 64 * random.Below(4));
        s->Gs.Base = (uint)(64 - 64 * random.Below(4));
        if (random.OneIn(8))
            s->Fs.Limit = (uint)NativeOracle.DataBase + 0x1000;
        if (random.OneIn(64))
            s->Es.Base = 64;
    }

    private static void Load(CpuState* s, NativeState* state, uint bits)
    {
        uint codeAttributes = SegmentAttributes.Present | SegmentAttributes.NotSystem | SegmentAttributes.Code | SegmentAttributes.Writable
            | SegmentAttributes.Accessed | SegmentAttributes.DplMask | SegmentAttributes.Granular
            | (bits == 64 ? SegmentAttributes.Long : SegmentAttributes.Big);
        uint dataAttributes = SegmentAttributes.Present | SegmentAttributes.NotSystem | SegmentAttributes.Writable
            | SegmentAttributes.Accessed | SegmentAttributes.DplMask | SegmentAttributes.Granular | SegmentAttributes.Big;
        for (int i = 0; i < 6; i++)
        {
            SegmentRegister* r = &s->Es + i;
            *r = new SegmentRegister
            {
                Limit = uint.MaxValue,
                Attributes = i == SegmentIndex.Cs ? codeAttributes : dataAttributes,
                Selector = (ushort)(i == SegmentIndex.Cs ? bits == 64 ? 0x33 : 0x23 : 0x2B),
            };
            SoftwareVcpu.SegmentLoaded(r);
        }
        s->Cpl = 3;
        for (int i = 0; i < 16; i++)
            s->Gpr[i] = state->Gpr[i];
        s->Rip = state->Rip;
        Flags.Set(s, state->Rflags);
        byte* x = state->Xsave;
        s->Fcw = *(ushort*)x;
        ushort status = *(ushort*)(x + 2);
        // ES and B follow from the flags and masks (SDM Vol. 1, 8.1.3.3).
        bool summary = (status & ~s->Fcw & 0x3F) != 0;
        s->FpuTop = (byte)((status >> 11) & 7);
        s->Fsw = (ushort)((status & 0x477F) | (summary ? 0x8080 : 0));
        s->FpuTags = x[4];
        s->Mxcsr = *(uint*)(x + 24);
        for (int i = 0; i < 8; i++)
        {
            int physical = (i + s->FpuTop) & 7;
            s->Fpr[physical * 2] = *(ulong*)(x + 32 + i * 16);
            s->Fpr[physical * 2 + 1] = *(ushort*)(x + 32 + i * 16 + 8);
        }
        for (int i = 0; i < 16; i++)
            for (int half = 0; half < 2; half++)
            {
                s->Ymm[i * 4 + half] = *(ulong*)(x + 160 + i * 16 + half * 8);
                s->Ymm[i * 4 + 2 + half] = *(ulong*)(x + 576 + i * 16 + half * 8);
            }
    }

    private void Save(CpuState* s, NativeState* state)
    {
        for (int i = 0; i < 16; i++)
            state->Gpr[i] = s->Gpr[i];
        state->Rip = s->Rip;
        state->Rflags = Flags.Get(s);
        byte* x = state->Xsave;
        *(ushort*)x = s->Fcw;
        *(ushort*)(x + 2) = (ushort)((s->Fsw & ~0x3800) | s->FpuTop << 11);
        x[4] = s->FpuTags;
        *(uint*)(x + 24) = s->Mxcsr;
        for (int i = 0; i < 8; i++)
        {
            int physical = (i + s->FpuTop) & 7;
            *(ulong*)(x + 32 + i * 16) = s->Fpr[physical * 2];
            *(ushort*)(x + 32 + i * 16 + 8) = (ushort)s->Fpr[physical * 2 + 1];
        }
        for (int i = 0; i < 16; i++)
            for (int half = 0; half < 2; half++)
            {
                *(ulong*)(x + 160 + i * 16 + half * 8) = s->Ymm[i * 4 + half];
                *(ulong*)(x + 576 + i * 16 + half * 8) = s->Ymm[i * 4 + 2 + half];
            }
        new ReadOnlySpan<byte>(_memory.BackingBase + DataFrame, NativeState.DataSize).CopyTo(new Span<byte>(state->Data, NativeState.DataSize));
    }

    private void Entry(ulong address, ulong value) => _memory.TryWrite(new Gpa(address), BitConverter.GetBytes(value));

    public void Dispose()
    {
        _cpu.Dispose();
        _memory.Dispose();
    }

    /// <summary>Ring 3 without I/O rights reaches no machine.</summary>
    private sealed class NoMachine : IIoSeam, IInterruptSource
    {
        public uint PortIn(int vcpu, ushort port, int size) => uint.MaxValue;
        public void PortOut(int vcpu, ushort port, int size, uint value) { }
        public ulong MmioRead(int vcpu, Gpa address, int size) => ulong.MaxValue;
        public void MmioWrite(int vcpu, Gpa address, int size, ulong value) { }
        public bool ReadMsr(int vcpu, uint index, out ulong value) { value = 0; return false; }
        public bool WriteMsr(int vcpu, uint index, ulong value) => false;
        public byte ReadCr8(int vcpu) => 0;
        public void WriteCr8(int vcpu, byte value) { }
        public void Hypercall(int vcpu, Span<ulong> registers, bool is64) { }
        public void TimeStampOffsetChanged(int vcpu, ulong offset) { }
        public ulong TimeStampCounter => 0;
        public bool Pending => false;
        public int Acknowledge() => -1;
    }
}
