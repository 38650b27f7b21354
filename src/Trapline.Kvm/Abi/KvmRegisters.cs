using System.Runtime.InteropServices;

namespace Trapline.Kvm.Abi;

/// <summary>struct kvm_regs (api.rst 4.11). The first four and the next four are not in encoding order.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct KvmRegisters
{
    public ulong Rax, Rbx, Rcx, Rdx, Rsi, Rdi, Rsp, Rbp;
    public fixed ulong R8To15[8];
    public ulong Rip, Rflags;
}

/// <summary>struct kvm_segment: the descriptor's attributes, one byte each.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct KvmSegment
{
    public ulong Base;
    public uint Limit;
    public ushort Selector;
    public byte Type, Present, Dpl, Big, NotSystem, Long, Granular, Available, Unusable;
    private readonly byte _padding;
}

/// <summary>struct kvm_dtable.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct KvmTable
{
    public ulong Base;
    public ushort Limit;
    private readonly ushort _padding0, _padding1, _padding2;
}

/// <summary>struct kvm_sregs (api.rst 4.13) and, one word longer, struct kvm_sregs2 (4.130): the same up to the last fields.</summary>
[StructLayout(LayoutKind.Explicit, Size = LongSize)]
internal unsafe struct KvmSpecialRegisters
{
    public const int ShortSize = 312, LongSize = 320;

    /// <summary>The page-directory-pointer entries are valid; else they are loaded from memory.</summary>
    public const ulong HasPdptes = 1;

    [FieldOffset(0)] public KvmSegment Cs;
    [FieldOffset(24)] public KvmSegment Ds;
    [FieldOffset(48)] public KvmSegment Es;
    [FieldOffset(72)] public KvmSegment Fs;
    [FieldOffset(96)] public KvmSegment Gs;
    [FieldOffset(120)] public KvmSegment Ss;
    [FieldOffset(144)] public KvmSegment Tr;
    [FieldOffset(168)] public KvmSegment Ldtr;
    [FieldOffset(192)] public KvmTable Gdtr;
    [FieldOffset(208)] public KvmTable Idtr;
    [FieldOffset(224)] public ulong Cr0;
    [FieldOffset(232)] public ulong Cr2;
    [FieldOffset(240)] public ulong Cr3;
    [FieldOffset(248)] public ulong Cr4;
    [FieldOffset(256)] public ulong Cr8;
    [FieldOffset(264)] public ulong Efer;
    [FieldOffset(272)] public ulong ApicBase;

    /// <summary>The short form has the queued interrupts here, of which we use none: KVM_SET_VCPU_EVENTS says it better.</summary>
    [FieldOffset(280)] public ulong Flags;
    [FieldOffset(288)] public fixed ulong Pdptes[4];
}

/// <summary>struct kvm_debugregs (api.rst 4.33).</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct KvmDebugRegisters
{
    public fixed ulong Address[4];
    public ulong Dr6, Dr7;
    public ulong Flags;
    private fixed ulong _reserved[9];
}

/// <summary>struct kvm_xcrs (api.rst 4.37) with its one entry, XCR0.</summary>
[StructLayout(LayoutKind.Explicit, Size = 392)]
internal struct KvmExtendedControl
{
    [FieldOffset(0)] public uint Count;
    [FieldOffset(8)] public uint Index;
    [FieldOffset(16)] public ulong Xcr0;
}

/// <summary>struct kvm_xsave: an XSAVE area in the standard layout, as large as KVM_CAP_XSAVE2 says and at least this.</summary>
internal static class KvmXsave
{
    public const int Size = 4096;
}

/// <summary>One entry of struct kvm_msrs (api.rst 4.18), whose header is a count and padding.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct KvmMsrEntry
{
    public const int HeaderSize = 8;

    public uint Index;
    public uint Reserved;
    public ulong Value;
}

/// <summary>struct kvm_vcpu_events (api.rst 4.31).</summary>
[StructLayout(LayoutKind.Explicit, Size = 64)]
internal struct KvmEvents
{
    public const uint NmiPendingValid = 1, ShadowValid = 4, PayloadValid = 16;
    public const byte MovSsShadow = 1, StiShadow = 2;

    [FieldOffset(0)] public byte ExceptionInjected;
    [FieldOffset(1)] public byte ExceptionVector;
    [FieldOffset(2)] public byte ExceptionHasErrorCode;
    [FieldOffset(3)] public byte ExceptionPending;
    [FieldOffset(4)] public uint ExceptionErrorCode;
    [FieldOffset(8)] public byte InterruptInjected;
    [FieldOffset(9)] public byte InterruptVector;
    [FieldOffset(10)] public byte InterruptIsSoftware;
    [FieldOffset(11)] public byte Shadow;
    [FieldOffset(12)] public byte NmiInjected;
    [FieldOffset(13)] public byte NmiPending;
    [FieldOffset(14)] public byte NmiMasked;
    [FieldOffset(20)] public uint Flags;
    [FieldOffset(55)] public byte ExceptionHasPayload;
    [FieldOffset(56)] public ulong ExceptionPayload;
}

/// <summary>struct kvm_device_attr (api.rst 4.80), for the one attribute of a vCPU that we use.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct KvmDeviceAttribute
{
    /// <summary>KVM_VCPU_TSC_CTRL and KVM_VCPU_TSC_OFFSET (Documentation/virt/kvm/devices/vcpu.rst 4).</summary>
    public const uint TscGroup = 0;
    public const ulong TscOffset = 0;

    public uint Flags;
    public uint Group;
    public ulong Attribute;
    public void* Value;
}
