using Trapline.Core;
using Trapline.Host;
using Trapline.Kvm.Abi;
using Trapline.X86;

namespace Trapline.Kvm;

/// <summary>One vCPU's time-stamp counter: runs in hardware, follows the machine's clock when that stands, and is moved to any value.</summary>
/// <remarks>
/// The guest's counter is the host's, scaled where the processor can, plus an offset that the kernel keeps, the guest's own writes included. Only
/// differences are added here, by the vCPU's attribute where there is one (Documentation/virt/kvm/devices/vcpu.rst 4): a write to IA32_TSC is taken as an
/// attempt to synchronize vCPUs and rounded by up to a second. Unsafe for the ioctls' arguments alone.
/// </remarks>
internal sealed unsafe class VcpuTsc
{
    private const long Nanosecond = 1_000_000_000;

    /// <summary>Two clocks cannot be read at once: smaller differences are noise. Nanoseconds.</summary>
    private const long Noise = 20_000;

    private readonly int _vcpu;
    private readonly IIoSeam _io;
    private readonly ulong _machineHertz;
    private readonly bool _hasAttribute;
    private long _machineAhead;

    // The guest's counter is the machine's and _ahead; the kernel's offset that belongs to this was _offset. A write by the guest moves both.
    private ulong _ahead, _offset;

    public VcpuTsc(int vcpu, IIoSeam io, CpuModel model, KvmDevice device)
    {
        (_vcpu, _io, _machineHertz) = (vcpu, io, model.TscFrequency);
        Kilohertz = GetFrequency(vcpu);
        _hasAttribute = device.Check(KvmCapability.VcpuAttributes) != 0 && TryGetOffset(out _offset);
        _machineAhead = MachineAhead();
        // A host without virtualization hardware may take every value and change nothing.
        ulong before = Reading;
        Move(-(long)(before / 2));
        CanMove = Reading < before;
    }

    /// <summary>The counter can be given a value. If not, the guest reads the host's own.</summary>
    public bool CanMove { get; }

    /// <summary>The guest's frequency.</summary>
    public uint Kilohertz { get; }

    /// <summary>The guest's counter as the processor has it.</summary>
    public ulong Reading => SingleMsr.Read(_vcpu, Msr.Tsc);

    /// <summary>The guest's counter by the machine's clock: the same as the reading, but without the noise of reading two clocks.</summary>
    public ulong Value
    {
        get
        {
            Follow();
            ulong reading = Reading;
            if (!_hasAttribute || !TryGetOffset(out ulong offset))
                return reading;
            ulong exact = MachineTicks + _ahead + (offset - _offset);
            // The processor's crystal and the host's clock part slowly; the guest has seen the crystal's time.
            return Math.Abs((long)(reading - exact)) < 3 * NoiseTicks ? exact : reading;
        }
        set
        {
            _machineAhead = MachineAhead();
            _ahead = value - MachineTicks;
            Move((long)(value - Reading));
            if (_hasAttribute)
                TryGetOffset(out _offset);
        }
    }

    /// <summary>Whether a guest's counter runs at the model's frequency: the processor scales it.</summary>
    public static bool IsModels(KvmDevice device, CpuModel model) => device.ScalesTsc && model.Has(Feature.Tsc);

    /// <summary>Gives a new vCPU the model's frequency if the host can.</summary>
    /// <returns>The frequency that it has, in kilohertz.</returns>
    public static uint SetFrequency(int vcpu, KvmDevice device, CpuModel model)
    {
        if (IsModels(device, model))
            KvmCalls.Require(vcpu, KvmRequest.SetTscKilohertz, model.TscFrequency / 1000, "KVM_SET_TSC_KHZ");
        return GetFrequency(vcpu);
    }

    private static uint GetFrequency(int vcpu) => (uint)KvmCalls.Require(vcpu, KvmRequest.GetTscKilohertz, 0ul, "KVM_GET_TSC_KHZ");

    /// <summary>Takes back what passed while the machine's clock stood. Cheap: called whenever the vCPU begins to run.</summary>
    public void Follow()
    {
        long ahead = MachineAhead();
        long change = ahead - _machineAhead;
        if (Math.Abs(change) < Noise)
            return;
        Move((long)((Int128)change * Kilohertz / 1_000_000));
        _machineAhead = ahead;
    }

    private long NoiseTicks => Noise * Kilohertz / 1_000_000;

    /// <summary>The machine's counter at the guest's frequency.</summary>
    private ulong MachineTicks
    {
        get
        {
            ulong machine = _io.TimeStampCounter;
            ulong kilohertz = _machineHertz / 1000;
            return kilohertz == Kilohertz ? machine : (ulong)((UInt128)machine * Kilohertz / kilohertz);
        }
    }

    /// <summary>How much further the machine's clock is than the host's, in nanoseconds: constant while it runs.</summary>
    private long MachineAhead()
    {
        for (; ; )
        {
            long before = HostTime.Nanoseconds;
            ulong counter = _io.TimeStampCounter;
            long after = HostTime.Nanoseconds;
            if (after - before < Noise / 2)
                return (_machineHertz == Nanosecond ? (long)counter : (long)((UInt128)counter * Nanosecond / _machineHertz)) - before;
        }
    }

    private void Move(long ticks)
    {
        if (_hasAttribute && TryGetOffset(out ulong offset))
        {
            offset += (ulong)ticks;
            _offset += (ulong)ticks;
            KvmDeviceAttribute attribute = OffsetAttribute(&offset);
            KvmCalls.Require(_vcpu, KvmRequest.SetDeviceAttribute, &attribute, "KVM_SET_DEVICE_ATTR (TSC offset)");
            return;
        }
        SingleMsr.Write(_vcpu, Msr.Tsc, Reading + (ulong)ticks);
    }

    private bool TryGetOffset(out ulong offset)
    {
        ulong value = 0;
        KvmDeviceAttribute attribute = OffsetAttribute(&value);
        bool known = KvmCalls.Control(_vcpu, KvmRequest.GetDeviceAttribute, &attribute) >= 0;
        offset = value;
        return known;
    }

    private static KvmDeviceAttribute OffsetAttribute(ulong* value) =>
        new() { Group = KvmDeviceAttribute.TscGroup, Attribute = KvmDeviceAttribute.TscOffset, Value = value };
}
