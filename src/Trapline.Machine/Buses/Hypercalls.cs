using Trapline.Devices.InterruptControllers;

namespace Trapline.Machine;

/// <summary>
/// The hypercalls that a KVM guest may make (Linux, Documentation/virt/kvm/x86/hypercalls.rst): number in RAX, arguments in RBX, RCX, RDX, RSI, result
/// in RAX. The engine has checked that the caller is in ring 0.
/// </summary>
internal sealed class Hypercalls(ApicBus bus, int processors)
{
    private const int Rax = 0, Rcx = 1, Rdx = 2, Rbx = 3, Rsi = 6;
    private const ulong SendIpi = 10;

    /// <summary>-KVM_ENOSYS: no such call.</summary>
    private const long NoSuchCall = -1000;

    public void Call(Span<ulong> registers) => registers[Rax] = registers[Rax] switch
    {
        SendIpi => (ulong)Send(registers[Rbx], registers[Rcx], (uint)registers[Rdx], (uint)registers[Rsi]),
        _ => unchecked((ulong)NoSuchCall),
    };

    /// <summary>KVM_HC_SEND_IPI: one interrupt to every APIC id in a bitmap of 128 that begins at <paramref name="lowest"/>.</summary>
    /// <returns>How many took it.</returns>
    private int Send(ulong lower, ulong upper, uint lowest, uint command)
    {
        int delivered = 0;
        for (uint bit = 0; bit < 128; bit++)
        {
            bool wanted = ((bit < 64 ? lower >> (int)bit : upper >> (int)(bit - 64)) & 1) != 0;
            ulong id = (ulong)lowest + bit;
            if (!wanted || id >= (ulong)processors)
                continue;
            ApicMessage message = new((uint)id, Wide: true, Logical: false, (DeliveryMode)(command >> 8 & 7), (byte)command, LevelTriggered: false);
            if (bus.Deliver(message))
                delivered++;
        }
        return delivered;
    }
}
