using System.Runtime.InteropServices;

namespace Trapline.Kvm.Abi;

/// <summary>struct kvm_userspace_memory_region (api.rst 4.35).</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct KvmMemoryRegion
{
    public const uint LogDirtyPages = 1, ReadOnly = 2;

    public uint Slot;
    public uint Flags;
    public ulong GuestAddress;
    public ulong Length;
    public ulong HostAddress;
}

/// <summary>struct kvm_ioeventfd (api.rst 4.59).</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct KvmIoEvent
{
    public const uint HasMatch = 1, IsPort = 2, Deassign = 4;

    public ulong Match;
    public ulong Address;
    public uint Length;
    public int Descriptor;
    public uint Flags;
    private fixed byte _padding[36];
}

/// <summary>struct kvm_dirty_log (api.rst 4.8): a bit for each page of a slot.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct KvmDirtyLog
{
    public uint Slot;
    private readonly uint _padding;
    public ulong* Bitmap;
}

/// <summary>struct kvm_enable_cap (api.rst 4.37).</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct KvmEnableCapability
{
    public uint Capability;
    public uint Flags;
    public fixed ulong Arguments[4];
    private fixed byte _padding[64];
}

/// <summary>struct kvm_msr_filter (api.rst 4.97): registers whose accesses leave the kernel. A clear bit denies.</summary>
[StructLayout(LayoutKind.Explicit, Size = HeaderSize + (MaximumRanges * KvmMsrFilterRange.Size))]
internal unsafe struct KvmMsrFilter
{
    public const int HeaderSize = 8;
    public const int MaximumRanges = 16;

    [FieldOffset(0)] public uint Flags;
    [FieldOffset(HeaderSize)] public KvmMsrFilterRange First;
}

/// <summary>struct kvm_msr_filter_range.</summary>
[StructLayout(LayoutKind.Sequential, Size = Size)]
internal unsafe struct KvmMsrFilterRange
{
    public const int Size = 24;
    public const uint ReadAndWrite = 3;

    public uint Flags;
    public uint Count;
    public uint First;
    public byte* Bitmap;
}

/// <summary>One entry of struct kvm_cpuid2 (api.rst 4.46), whose header is a count and padding.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct KvmCpuidEntry
{
    public const int HeaderSize = 8;

    /// <summary>The entry answers for its subleaf only (KVM_CPUID_FLAG_SIGNIFCANT_INDEX).</summary>
    public const uint HasSubleaf = 1;

    public uint Leaf, Subleaf, Flags, Eax, Ebx, Ecx, Edx;
    private readonly uint _padding0, _padding1, _padding2;
}
