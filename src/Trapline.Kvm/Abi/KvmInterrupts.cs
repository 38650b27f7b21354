using System.Runtime.InteropServices;

namespace Trapline.Kvm.Abi;

/// <summary>struct kvm_lapic_state (api.rst 4.57): the register page's first KiB.</summary>
[StructLayout(LayoutKind.Sequential, Size = Size)]
internal unsafe struct KvmLocalApic
{
    public const int Size = 0x400;

    /// <summary>Words from one register to the next.</summary>
    public const int Stride = 4;

    public fixed uint Registers[Size / sizeof(uint)];
}

/// <summary>struct kvm_msi (api.rst 4.70).</summary>
[StructLayout(LayoutKind.Sequential, Size = 32)]
internal struct KvmMsi
{
    public uint AddressLow, AddressHigh, Data, Flags;
}

/// <summary>struct kvm_irq_routing_entry for an MSI (api.rst 4.52). The header before the entries is their number and flags.</summary>
[StructLayout(LayoutKind.Sequential, Size = 48)]
internal struct KvmMsiRoute
{
    public const int HeaderSize = 8;
    public const uint IsMsi = 2;

    public uint Input, Type, Flags, Padding;
    public uint AddressLow, AddressHigh, Data;
}

/// <summary>What a vCPU whose local APIC is the kernel's is doing (api.rst 4.38, KVM_MP_STATE_*).</summary>
internal enum KvmActivity : uint
{
    Runnable = 0,
    Uninitialized = 1,
    InitReceived = 2,
    Halted = 3,
    StartUpReceived = 4,
}

/// <summary>KVM_CAP_X2APIC_API's flags (api.rst 7.7).</summary>
[Flags]
internal enum KvmX2Apic : uint
{
    WideIds = 1,
    NoBroadcastQuirk = 2,
}
