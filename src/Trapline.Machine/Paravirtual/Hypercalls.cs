using System.Buffers.Binary;
using Trapline.Core;
using Trapline.Devices.InterruptControllers;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Machine;

/// <summary>The hypercalls of a KVM guest (Linux, Documentation/virt/kvm/x86/hypercalls.rst): number in RAX, arguments in RBX, RCX, RDX, RSI, result in RAX.</summary>
/// <remarks>The engine has checked that the caller is in ring 0. A call of a feature that the model has not does not exist. APIC ids are vCPUs' numbers.</remarks>
internal sealed class Hypercalls(CpuModel model, ApicBus bus, IReadOnlyList<ParavirtualVcpu> vcpus, GuestMemory memory, GuestClock clock)
{
    private const int Rax = 0, Rcx = 1, Rdx = 2, Rbx = 3, Rsi = 6;

    // Linux, include/uapi/linux/kvm_para.h.
    private const uint VapicPollIrq = 1, KickCpu = 5, ClockPairing = 9, SendIpi = 10, SchedYield = 11;
    private const long BadAddress = -14, Invalid = -22, NotSupported = -95, NoSuchCall = -1000;

    private const int ClockPairingLength = 64;

    public void Call(int vcpu, Span<ulong> registers, bool is64)
    {
        (ulong first, ulong second) = (registers[Rbx], registers[Rcx]);
        registers[Rax] = (ulong)(registers[Rax] switch
        {
            VapicPollIrq => 0, // its caller wanted to leave the guest, which it has
            KickCpu when model.Has(Feature.KvmPvUnhalt) => Kick(second),
            ClockPairing when model.Has(Feature.KvmClock) => PairClocks(vcpu, first, second),
            SendIpi when model.Has(Feature.KvmPvIpi) => Send(first, second, registers[Rdx], registers[Rsi], is64 ? 64 : 32),
            SchedYield when model.Has(Feature.KvmPvSchedYield) => YieldTo(vcpu, first),
            _ => NoSuchCall,
        });
    }

    /// <summary>KVM_HC_KICK_CPU.</summary>
    private long Kick(ulong id)
    {
        if (id < (ulong)vcpus.Count)
            vcpus[(int)id].Unhalt();
        return 0;
    }

    /// <summary>KVM_HC_SCHED_YIELD: the caller waits for a vCPU that may be waiting for this host processor.</summary>
    private long YieldTo(int vcpu, ulong id)
    {
        if (id < (ulong)vcpus.Count && id != (ulong)vcpu && !vcpus[(int)id].IsAsleep)
            Thread.Yield();
        return 0;
    }

    /// <summary>KVM_HC_SEND_IPI: one interrupt to every APIC id in a bitmap of two words that begins at <paramref name="lowest"/>.</summary>
    /// <returns>How many took it.</returns>
    private long Send(ulong lower, ulong upper, ulong lowest, ulong command, int wordBits)
    {
        const ulong destinationsOfItsOwn = 0xC_0800; // the shorthand and the logical mode
        if ((command & destinationsOfItsOwn) != 0)
            return Invalid;
        long delivered = 0;
        for (int bit = 0; bit < wordBits * 2; bit++)
        {
            bool wanted = ((bit < wordBits ? lower >> bit : upper >> (bit - wordBits)) & 1) != 0;
            ulong id = (uint)lowest + (ulong)bit;
            if (!wanted || id >= (ulong)vcpus.Count)
                continue;
            ApicMessage message = new((uint)id, Wide: true, Logical: false, (DeliveryMode)(command >> 8 & 7), (byte)command, LevelTriggered: false);
            if (bus.Deliver(message))
                delivered++;
        }
        return delivered;
    }

    /// <summary>KVM_HC_CLOCK_PAIRING: the host's time of day beside the caller's counter, for the guest's PTP clock.</summary>
    private long PairClocks(int vcpu, ulong address, ulong kind)
    {
        const ulong wallClock = 0;
        if (kind != wallClock)
            return NotSupported;
        ulong counter = clock.TimeStampCounter + vcpus[vcpu].TimeStampOffset;
        long ticks = (clock.UtcNow - DateTime.UnixEpoch).Ticks;
        Span<byte> pairing = stackalloc byte[ClockPairingLength];
        pairing.Clear();
        BinaryPrimitives.WriteInt64LittleEndian(pairing, ticks / TimeSpan.TicksPerSecond);
        BinaryPrimitives.WriteInt64LittleEndian(pairing[8..], ticks % TimeSpan.TicksPerSecond * 100);
        BinaryPrimitives.WriteUInt64LittleEndian(pairing[16..], counter);
        return memory.TryWrite(new Gpa(address), pairing) ? 0 : BadAddress;
    }
}
