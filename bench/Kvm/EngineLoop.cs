using System.Diagnostics;
using Trapline.Core;
using Trapline.Kvm;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Bench;

/// <summary>A guest in real mode that does nothing but OUT, on the KVM engine, with an I/O seam that only counts.</summary>
internal sealed class EngineLoop : IIoSeam, IInterruptSource, IDisposable
{
    private const ulong Code = 0x8000;
    private const int Warm = 200;

    private readonly GuestMemory _memory = GuestMemory.Flat(0x10000);
    private readonly KvmVm _vm;
    private readonly KvmVcpu _vcpu;
    private long _count, _start, _end;

    /// <param name="device">Owned from now on.</param>
    public EngineLoop(KvmDevice device)
    {
        _memory.TryWrite(new Gpa(Code), [0xE6, 0x80, 0xEB, 0xFC]); // out 0x80, al; jmp to it
        _vm = new KvmVm(device, _memory);
        _vcpu = new KvmVcpu(_vm, 0, 1, CpuModel.Max, this, this);
        VcpuState state = VcpuReset.PowerOn(_vcpu.Model, isBootProcessor: true);
        SegmentState[] segments = [.. state.Segments];
        segments[SegmentIndex.Cs] = new SegmentState(0, 0, 0xFFFF, 0x9B);
        _vcpu.Import(state with { Segments = segments, Rip = Code });
    }

    public ulong TimeStampCounter => 0;
    public bool Pending => false;

    /// <returns>Nanoseconds for each exit.</returns>
    public double Run(int exits)
    {
        _count = 0;
        _end = Warm + exits;
        _vcpu.Run();
        return Stopwatch.GetElapsedTime(_start).TotalNanoseconds / exits;
    }

    public void PortOut(int vcpu, ushort port, int size, uint value)
    {
        if (++_count == Warm)
            _start = Stopwatch.GetTimestamp();
        if (_count == _end)
            _vcpu.Kick();
    }

    public int Acknowledge() => -1;
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

    public void Dispose()
    {
        _vcpu.Dispose();
        _vm.Dispose();
        _memory.Dispose();
    }
}
