using Trapline.Kvm.Abi;
using Trapline.X86;

namespace Trapline.Kvm;

/// <summary>Takes from the kernel the registers that the machine owns: its accesses come to us as exits (api.rst 4.97).</summary>
/// <remarks>x2APIC registers cannot be filtered; without a local APIC of its own the kernel does not know them, and they come to us as unknown.</remarks>
internal static unsafe class MsrFilter
{
    private static readonly (uint First, uint Count)[] Ours =
    [
        (Msr.ApicBase, 1),
        (Msr.TscDeadline, 1),
        (Msr.MtrrCap, 1),
        (0x200, 16), // variable memory type ranges
        (0x250, 1), (0x258, 2), (0x268, 8), // fixed ones
        (0x2FF, 1), // default memory type
    ];

    /// <exception cref="KvmException">The host refused.</exception>
    public static void Install(int vm)
    {
        KvmMsrFilter filter = default;
        ulong denyAll = 0;
        KvmMsrFilterRange* range = &filter.First;
        foreach ((uint first, uint count) in Ours)
            *range++ = new KvmMsrFilterRange { Flags = KvmMsrFilterRange.ReadAndWrite, First = first, Count = count, Bitmap = (byte*)&denyAll };
        KvmCalls.Require(vm, KvmRequest.SetMsrFilter, &filter, "KVM_X86_SET_MSR_FILTER");
    }
}
