using Trapline.Kvm.Abi;
using Trapline.X86;

namespace Trapline.Kvm;

/// <summary>Takes from the kernel the registers that the machine owns: its accesses come to us as exits (api.rst 4.97).</summary>
/// <remarks>
/// x2APIC registers cannot be filtered; without a local APIC of its own the kernel does not know them, and they come to us as unknown. With one, the
/// other two of its registers are the kernel's too.
/// </remarks>
internal static unsafe class MsrFilter
{
    private static readonly (uint First, uint Count)[] LocalApics = [(Msr.ApicBase, 1), (Msr.TscDeadline, 1)];

    private static readonly (uint First, uint Count)[] Ours =
    [
        (Msr.MtrrCap, 1),
        (0x200, 16), // variable memory type ranges
        (0x250, 1), (0x258, 2), (0x268, 8), // fixed ones
        (0x2FF, 1), // default memory type
    ];

    /// <exception cref="KvmException">The host refused.</exception>
    /// <param name="apics">Local APICs are the machine's.</param>
    public static void Install(int vm, bool apics)
    {
        KvmMsrFilter filter = default;
        ulong denyAll = 0;
        KvmMsrFilterRange* range = &filter.First;
        foreach ((uint first, uint count) in apics ? [.. Ours, .. LocalApics] : Ours)
            *range++ = new KvmMsrFilterRange { Flags = KvmMsrFilterRange.ReadAndWrite, First = first, Count = count, Bitmap = (byte*)&denyAll };
        KvmCalls.Require(vm, KvmRequest.SetMsrFilter, &filter, "KVM_X86_SET_MSR_FILTER");
    }
}
