using Trapline.Core;

namespace Trapline.Devices.InterruptControllers;

// KVM's paravirtual EOI (Linux, Documentation/virt/kvm/x86/msr.rst, MSR_KVM_PV_EOI_EN): with an interrupt that is alone in service, and whose end nobody
// else waits for, the guest finds a bit set in its memory. If it clears the bit, that is its EOI, and it does not write the register. We learn of it the
// next time the vCPU's thread is here: until then the vector seems to be in service. So whatever is requested meanwhile brings the vCPU here, to
// Acknowledge, which looks first and decides then. The byte is only touched by the vCPU's own thread (or while it stands), without the lock.
public sealed partial class LocalApic
{
    private const ulong EoiEnable = 1;

    private IGuestMemory? _eoiMemory;
    private ulong _eoiMsr;
    private volatile bool _eoiOffered;

    /// <summary>MSR_KVM_PV_EOI_EN.</summary>
    public ulong ParavirtualEoi => Volatile.Read(ref _eoiMsr);

    private Gpa EoiAddress => new(ParavirtualEoi & ~EoiEnable);

    /// <summary>Names the memory that the guest's EOI bit is in.</summary>
    public void Connect(IGuestMemory memory) => _eoiMemory = memory;

    /// <summary>WRMSR of MSR_KVM_PV_EOI_EN; false means #GP: not aligned to four bytes, or not RAM.</summary>
    public bool TrySetParavirtualEoi(ulong value)
    {
        CollectEoi();
        Span<byte> bits = stackalloc byte[1];
        Gpa address = new(value & ~EoiEnable);
        if ((address.Value & 3) != 0)
            return false;
        if ((value & EoiEnable) != 0 && !(_eoiMemory?.TryRead(address, bits) == true && _eoiMemory.TryWrite(address, bits)))
            return false;
        Volatile.Write(ref _eoiMsr, value);
        return true;
    }

    /// <summary>The vector just taken may end by the bit. The lock is held; <see cref="OfferEoi"/> follows without it.</summary>
    private bool MayOfferEoi(byte vector) =>
        (_eoiMsr & EoiEnable) != 0 && _irr.Highest < 0 && !_tmr.Contains(vector) && _isr.IsSingle;

    private void OfferEoi()
    {
        Span<byte> bits = stackalloc byte[1];
        if (_eoiMemory!.TryRead(EoiAddress, bits))
        {
            bits[0] |= 1;
            if (_eoiMemory.TryWrite(EoiAddress, bits))
                return;
        }
        lock (_lock)
        {
            _eoiOffered = false;
            Update();
        }
    }

    /// <summary>Withdraws the bit, or does what it was cleared for.</summary>
    private void CollectEoi()
    {
        if (!_eoiOffered)
            return;
        Span<byte> bits = stackalloc byte[1];
        bool ended = _eoiMemory!.TryRead(EoiAddress, bits) && (bits[0] & 1) == 0;
        if (!ended)
        {
            bits[0] &= 0xFE;
            _eoiMemory.TryWrite(EoiAddress, bits);
        }
        int broadcast = -1;
        lock (_lock)
        {
            bool offered = _eoiOffered;
            _eoiOffered = false;
            if (offered && ended)
                EndOfInterrupt(out broadcast);
            else
                Update();
        }
        if (broadcast >= 0)
            _bus.BroadcastEoi((byte)broadcast);
    }
}
