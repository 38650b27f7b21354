using System.Buffers.Binary;
using System.Diagnostics;
using System.Runtime.Intrinsics.X86;
using Trapline.Core;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Kvm;

/// <summary>How fast guest code runs under a host's KVM.</summary>
/// <param name="NanosecondsPerInstruction">Of a loop of two simple instructions. Hardware needs less than one.</param>
/// <param name="MicrosecondsPerExit">From an OUT to our code and back. Hardware needs about one, hardware within a virtual machine tens.</param>
public readonly record struct KvmSpeed(double NanosecondsPerInstruction, double MicrosecondsPerExit)
{
    /// <summary>Worth running guests on: hardware does it, not an emulator in the kernel.</summary>
    public bool IsFast => NanosecondsPerInstruction <= 3 && MicrosecondsPerExit <= 100;
}

/// <summary>Whether KVM works here, found out by running a few instructions of 64-bit code in a virtual machine that is thrown away.</summary>
public static class KvmProbe
{
    private const ulong Code = 0x8000, Tables = 0x1000, MemoryBytes = 0x10000;
    private const int Iterations = 4000, Exits = 16, Warm = 4;
    private const byte Port = 0x80;

    /// <summary>The processor offers VMX or SVM to this host; without it a KVM can only emulate (SDM Vol. 3, 24.6; APM Vol. 2, 15.4).</summary>
    public static bool ProcessorHasHardware => X86Base.IsSupported
        && ((X86Base.CpuId(1, 0).Ecx & 1 << 5) != 0
            || ((uint)X86Base.CpuId(unchecked((int)0x8000_0000), 0).Eax >= 0x8000_0001 && (X86Base.CpuId(unchecked((int)0x8000_0001), 0).Ecx & 1 << 2) != 0));

    /// <summary>Runs the probe. Null: <paramref name="obstacle"/> says in one line why guests cannot run.</summary>
    public static KvmSpeed? Measure(out string? obstacle)
    {
        if (KvmDevice.TryOpen(out obstacle) is not { } device)
            return null;
        try
        {
            using GuestMemory memory = GuestMemory.Flat(MemoryBytes);
            using KvmVm vm = new(device, memory);
            Stopwatches seam = new();
            using KvmVcpu vcpu = new(vm, 0, 1, CpuModel.Max, seam, seam);
            seam.Vcpu = vcpu;
            Load(memory);
            vcpu.Import(Start(vcpu.Model));
            StopReason reason = vcpu.Run();
            if (reason == StopReason.Kicked && vcpu.Export().General[3] == Iterations)
                return seam.Speed;
            obstacle = $"64-bit code does not run under {KvmDevice.Path}: {vcpu.Failure ?? reason.ToString()}";
        }
        catch (Exception refusal) when (refusal is KvmException or ArgumentException)
        {
            obstacle = $"{KvmDevice.Path} does not work: {refusal.Message}";
        }
        return null;
    }

    /// <summary>Exits, then the loop, then two exits more.</summary>
    private static void Load(GuestMemory memory)
    {
        // The first 2 MiB map to themselves, in one page.
        Write(memory, Tables, (Tables + 0x1000) | 3);
        Write(memory, Tables + 0x1000, (Tables + 0x2000) | 3);
        Write(memory, Tables + 0x2000, 0x83);
        List<byte> code = [];
        for (int i = 0; i < Exits; i++)
            code.AddRange([0xE6, Port]); // out Port, al
        code.AddRange([0xB9, .. BitConverter.GetBytes(Iterations)]); // mov ecx, Iterations
        code.AddRange([0x31, 0xDB]); // xor ebx, ebx
        code.AddRange([0xFF, 0xC3, 0xE2, 0xFC]); // again: inc ebx; loop again
        code.AddRange([0xE6, Port, 0xE6, Port]);
        memory.TryWrite(new Gpa(Code), code.ToArray());
    }

    private static void Write(GuestMemory memory, ulong address, ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        memory.TryWrite(new Gpa(address), bytes);
    }

    private static VcpuState Start(CpuModel model)
    {
        VcpuState state = VcpuReset.PowerOn(model, isBootProcessor: true);
        const uint attributes = SegmentAttributes.Present | SegmentAttributes.NotSystem | SegmentAttributes.Writable | SegmentAttributes.Accessed | SegmentAttributes.Granular;
        SegmentState data = new(0x10, 0, uint.MaxValue, attributes | SegmentAttributes.Big);
        SegmentState code = new(8, 0, uint.MaxValue, attributes | SegmentAttributes.Code | SegmentAttributes.Long);
        return state with
        {
            Rip = Code,
            Segments = [data, code, data, data, data, data, state.Segments[SegmentIndex.Ldtr], state.Segments[SegmentIndex.Tr]],
            Cr0 = Cr0.Pe | Cr0.Et | Cr0.Ne | Cr0.Pg,
            Cr3 = Tables,
            Cr4 = Cr4.Pae,
            Msrs = new Dictionary<uint, ulong>(state.Msrs) { [Msr.Efer] = Efer.Lme | Efer.Lma },
        };
    }

    /// <summary>Takes the time at each exit; after the last one the vCPU stops.</summary>
    private sealed class Stopwatches : IIoSeam, IInterruptSource
    {
        private readonly long[] _times = new long[Exits + 2];
        private int _count;

        public IVcpuEngine? Vcpu { get; set; }

        public KvmSpeed Speed
        {
            get
            {
                long exit = Enumerable.Range(Warm, Exits - Warm).Min(i => _times[i] - _times[i - 1]);
                long loop = Math.Max(_times[Exits] - _times[Exits - 1] - exit, 0);
                double nanosecond = 1e9 / Stopwatch.Frequency;
                return new KvmSpeed(loop * nanosecond / (2.0 * Iterations), exit * nanosecond / 1000);
            }
        }

        public ulong TimeStampCounter => 0;
        public bool Pending => false;
        public int Acknowledge() => -1;

        public void PortOut(int vcpu, ushort port, int size, uint value)
        {
            _times[_count++] = Stopwatch.GetTimestamp();
            if (_count == _times.Length)
                Vcpu!.Kick();
        }

        public uint PortIn(int vcpu, ushort port, int size) => uint.MaxValue;
        public ulong MmioRead(int vcpu, Gpa address, int size) => ulong.MaxValue;
        public void MmioWrite(int vcpu, Gpa address, int size, ulong value) { }
        public bool WriteMsr(int vcpu, uint index, ulong value) => false;
        public byte ReadCr8(int vcpu) => 0;
        public void WriteCr8(int vcpu, byte value) { }
        public void Hypercall(int vcpu, Span<ulong> registers, bool is64) { }
        public void TimeStampOffsetChanged(int vcpu, ulong offset) { }

        public bool ReadMsr(int vcpu, uint index, out ulong value)
        {
            value = 0;
            return false;
        }
    }
}
