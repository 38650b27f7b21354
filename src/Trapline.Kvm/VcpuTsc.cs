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

    public VcpuTsc(int vcpu, IIoSeam io, CpuModel model, KvmDevice device)
    {
        (_vcpu, _io, _machineHertz) = (vcpu, io, model.TscFrequency);
        uint wanted = (uint)(model.TscFrequency / 1000);
        if (CanScale(device))
            KvmCalls.Require(vcpu, KvmRequest.SetTscKilohertz, (ulong)wanted, "KVM_SET_TSC_KHZ");
        Kilohertz = (uint)KvmCalls.Require(vcpu, KvmRequest.GetTscKilohertz, 0ul, "KVM_GET_TSC_KHZ");
        _hasAttribute = device.Check(KvmCapability.VcpuAttributes) != 0 && TryGetOffset(out _);
        _machineAhead = MachineAhead();
    }

    /// <summary>The guest's frequency.</summary>
    public uint Kilohertz { get; }

    /// <summary>The guest's counter.</summary>
    public ulong Value
    {
        get
        {
            MsrRecord record = new() { Count = 1, Entry = new KvmMsrEntry { Index = Msr.Tsc } };
            KvmCalls.Require(_vcpu, KvmRequest.GetMsrs, &record, "KVM_GET_MSRS (IA32_TSC)");
            return record.Entry.Value;
        }
        set
        {
            Move((long)(value - Value));
            _machineAhead = MachineAhead();
        }
    }

    /// <summary>Whether this host gives guests a frequency of their own.</summary>
    public static bool CanScale(KvmDevice device) => device.Check(KvmCapability.TscControl) != 0;

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
            KvmDeviceAttribute attribute = OffsetAttribute(&offset);
            KvmCalls.Require(_vcpu, KvmRequest.SetDeviceAttribute, &attribute, "KVM_SET_DEVICE_ATTR (TSC offset)");
            return;
        }
        MsrRecord record = new() { Count = 1, Entry = new KvmMsrEntry { Index = Msr.Tsc, Value = Value + (ulong)ticks } };
        KvmCalls.Require(_vcpu, KvmRequest.SetMsrs, &record, "KVM_SET_MSRS (IA32_TSC)");
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

    private struct MsrRecord
    {
        public ulong Count;
        public KvmMsrEntry Entry;
    }
}
