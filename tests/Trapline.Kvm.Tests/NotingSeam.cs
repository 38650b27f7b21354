using System.Runtime.CompilerServices;
using Trapline.Core;
using Trapline.X86;

namespace Trapline.Kvm.Tests;

/// <summary>Notes what a vCPU does, answers with numbers that tests know, and hands out interrupts.</summary>
internal sealed class NotingSeam : IIoSeam, IInterruptSource
{
    private int _vector = -1;
    private byte _priority;
    private long _portWrites;

    public IVcpuEngine? Owner { get; set; }

    /// <summary>What happened, in order; only if <see cref="Noting"/>.</summary>
    public List<string> Notes { get; } = [];

    public bool Noting { get; set; } = true;

    public long PortWrites => Volatile.Read(ref _portWrites);

    public ulong Clock { get; set; } = 0x1234_5678;

    public ulong TimeStampCounter => Clock;

    /// <summary>Called on the vCPU's thread at each OUT.</summary>
    public Action<ushort, uint>? OnOut { get; set; }

    public uint PortIn(int vcpu, ushort port, int size)
    {
        Note($"in {port:x}/{size}");
        return 0x8765_4321u + port;
    }

    public void PortOut(int vcpu, ushort port, int size, uint value)
    {
        Note($"out {port:x}/{size}={value:x}");
        Volatile.Write(ref _portWrites, _portWrites + 1);
        OnOut?.Invoke(port, value);
        if (port == KvmBench.StopPort)
            Owner!.Kick();
    }

    public ulong MmioRead(int vcpu, Gpa address, int size)
    {
        Note($"load {address.Value:x}/{size}");
        return 0x1122_3344_5566_7788;
    }

    public void MmioWrite(int vcpu, Gpa address, int size, ulong value) => Note($"store {address.Value:x}/{size}={value:x}");

    public bool ReadMsr(int vcpu, uint index, out ulong value)
    {
        value = index == Msr.ApicBase ? 0xFEE0_0900 : 0x5000_0000_0000_0000ul | index;
        Note($"rdmsr {index:x}");
        return index is Msr.ApicBase or Msr.MtrrCap or Msr.X2ApicFirst + 2;
    }

    public bool WriteMsr(int vcpu, uint index, ulong value)
    {
        Note($"wrmsr {index:x}={value:x}");
        return index is Msr.ApicBase or Msr.X2ApicFirst + 8;
    }

    public byte ReadCr8(int vcpu) => _priority;

    public void WriteCr8(int vcpu, byte value)
    {
        _priority = value;
        Note($"cr8={value}");
    }

    public void Hypercall(int vcpu, Span<ulong> registers, bool is64) { }
    public void TimeStampOffsetChanged(int vcpu, ulong offset) { }

    /// <summary>An interrupt is pending from now on, as far as the task priority lets it.</summary>
    public void Interrupt(byte vector)
    {
        Volatile.Write(ref _vector, vector);
        Owner!.InterruptPending();
    }

    public bool Pending => Volatile.Read(ref _vector) is var vector && vector >= 0 && vector >> 4 > _priority;

    public int Acknowledge() => Interlocked.Exchange(ref _vector, -1);

    /// <summary>The text is made only if somebody wants it.</summary>
    private void Note([InterpolatedStringHandlerArgument("")] ref Text text)
    {
        if (Noting)
            Notes.Add(text.ToString());
    }

    [InterpolatedStringHandler]
    private ref struct Text
    {
        private DefaultInterpolatedStringHandler _text;
        private readonly bool _wanted;

        public Text(int literals, int holes, NotingSeam seam, out bool wanted)
        {
            _wanted = wanted = seam.Noting;
            _text = wanted ? new DefaultInterpolatedStringHandler(literals, holes) : default;
        }

        public void AppendLiteral(string literal) => _text.AppendLiteral(literal);

        public void AppendFormatted<T>(T value, string? format = null) => _text.AppendFormatted(value, format);

        public override string ToString() => _wanted ? _text.ToStringAndClear() : "";
    }
}
