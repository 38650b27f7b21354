using System.Text.Json;
using Trapline.Core;
using Trapline.Cpu;
using Trapline.Cpu.Translator;
using Trapline.Memory;
using Trapline.X86;

namespace Engines.Differential;

/// <summary>A vCPU alone, with a clock that stands and a task priority register; a write to port 0xF4 makes it return.</summary>
internal sealed class StateBench : IDisposable
{
    public const ulong Code = 0x8000, Tables = 0x20000, Stack = 0x7F00, Idt = 0x30000, Gdt = 0x31000;

    private readonly Seam _seam = new();

    public StateBench(bool translate, CpuModel model)
    {
        Memory = GuestMemory.Flat(4 << 20);
        Cpu = new SoftwareVcpu(0, Memory, model, _seam, _seam);
        _seam.Owner = Cpu;
        if (translate)
            Assert.True(Cpu.EnableTranslator(new TranslatorOptions()), SoftwareVcpu.TranslatorObstacle);
        // The first 2 MiB map to themselves in one page.
        Write(Tables, (Tables + 0x1000) | 3);
        Write(Tables + 0x1000, (Tables + 0x2000) | 3);
        Write(Tables + 0x2000, 0x83);
        Write(Gdt + 8, 0x00AF_9B00_0000_FFFF);
    }

    public GuestMemory Memory { get; }

    public SoftwareVcpu Cpu { get; }

    public long Translations => Cpu.Translator?.Counters.Translated ?? 0;

    /// <summary>Writes eight bytes of guest memory.</summary>
    public void Write(ulong address, ulong value) => Assert.True(Memory.TryWrite(new Gpa(address), BitConverter.GetBytes(value)));

    public ulong Read(ulong address)
    {
        byte[] bytes = new byte[8];
        Assert.True(Memory.TryRead(new Gpa(address), bytes));
        return BitConverter.ToUInt64(bytes);
    }

    public void Handle(byte vector, ulong at)
    {
        Write(Idt + (vector * 16u), (at & 0xFFFF) | (8 << 16) | (0x8E00ul << 32) | ((at >> 16 & 0xFFFF) << 48));
        Write(Idt + (vector * 16u) + 8, at >> 32);
    }

    /// <summary>The state as text, for comparison and for people.</summary>
    public static string Text(VcpuState state) => JsonSerializer.Serialize(state);

    /// <summary>The same state, but in ring 0 of 64-bit mode at <see cref="Code"/>, with nothing that keeps plain instructions from running.</summary>
    public static VcpuState AtCode(VcpuState state, CpuModel model)
    {
        Dictionary<uint, ulong> msrs = new(state.Msrs) { [Msr.Efer] = Efer.Lme | Efer.Lma | Efer.Nxe | Efer.Sce };
        const uint data = SegmentAttributes.Present | SegmentAttributes.NotSystem | SegmentAttributes.Writable | SegmentAttributes.Accessed;
        SegmentState flat = new(0x10, 0, uint.MaxValue, data | SegmentAttributes.Big | SegmentAttributes.Granular);
        ulong[] general = [.. state.General];
        general[4] = Stack;
        general[6] = 0x10000 + (general[6] & 0xFF8);
        general[7] = 0x12000 + (general[7] & 0xFF8);
        return state with
        {
            General = general,
            Rip = Code,
            Rflags = (state.Rflags & Rflags.Arithmetic) | Rflags.Fixed,
            Segments = [flat, new SegmentState(8, 0, uint.MaxValue, data | SegmentAttributes.Code | SegmentAttributes.Long | SegmentAttributes.Granular), flat, flat, flat, flat,
                state.Segments[6], new SegmentState(0x18, 0x40000, 0x67, 0x8B)],
            Gdtr = new TableState(Gdt, 15),
            Idtr = new TableState(Idt, 0xFFF),
            Cr0 = Cr0.Pe | Cr0.Et | Cr0.Ne | Cr0.Pg | Cr0.Wp | Cr0.Mp,
            Cr3 = Tables,
            Cr4 = model.Cr4Bits & ~(Cr4.Smep | Cr4.Smap | Cr4.Pcide | Cr4.Pke | Cr4.Umip | Cr4.Vme | Cr4.Pvi),
            Xcr0 = model.Xcr0Bits,
            Debug = [state.Debug[0], state.Debug[1], state.Debug[2], state.Debug[3], state.Debug[4], 0x400],
            Pdptes = [],
            Msrs = msrs,
            Activity = VcpuActivity.Running,
            NmiPending = false,
            InitPending = false,
            StartUpVector = null,
            Injected = null,
            PendingDebug = 0,
        };
    }

    public void Dispose()
    {
        Cpu.Dispose();
        Memory.Dispose();
    }

    private sealed class Seam : IIoSeam, IInterruptSource
    {
        private byte _cr8;

        public SoftwareVcpu? Owner { get; set; }

        public uint PortIn(int vcpu, ushort port, int size) => uint.MaxValue;
        public void PortOut(int vcpu, ushort port, int size, uint value) => Owner!.Kick();
        public ulong MmioRead(int vcpu, Gpa address, int size) => ulong.MaxValue;
        public void MmioWrite(int vcpu, Gpa address, int size, ulong value) { }

        public bool ReadMsr(int vcpu, uint index, out ulong value)
        {
            value = 0;
            return false;
        }

        public bool WriteMsr(int vcpu, uint index, ulong value) => false;
        public byte ReadCr8(int vcpu) => _cr8;
        public void WriteCr8(int vcpu, byte value) => _cr8 = value;
        public void Hypercall(int vcpu, Span<ulong> registers, bool is64) { }
        public void TimeStampOffsetChanged(int vcpu, ulong offset) { }
        public ulong TimeStampCounter => 0x1234_5678;
        public bool Pending => false;
        public int Acknowledge() => -1;
    }
}
