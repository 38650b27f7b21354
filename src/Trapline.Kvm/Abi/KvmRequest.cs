namespace Trapline.Kvm.Abi;

/// <summary>Request numbers of KVM's ioctls, by their names in Documentation/virt/kvm/api.rst without KVM_. A number encodes direction and size of its argument.</summary>
internal static unsafe class KvmRequest
{
    // Asked of /dev/kvm.
    public const ulong GetApiVersion = None | 0x00;
    public const ulong CreateVm = None | 0x01;
    public const ulong CheckExtension = None | 0x03;
    public const ulong GetVcpuMmapSize = None | 0x04;
    public static readonly ulong GetMsrIndexList = Both(0x02, sizeof(uint));
    public static readonly ulong GetSupportedCpuid = Both(0x05, KvmCpuidEntry.HeaderSize);

    // Asked of a virtual machine.
    public const ulong CreateVcpu = None | 0x41;
    public const ulong SetTssAddress = None | 0x47;
    public static readonly ulong GetDirtyLog = In(0x42, sizeof(KvmDirtyLog));
    public static readonly ulong SetUserMemoryRegion = In(0x46, sizeof(KvmMemoryRegion));
    public static readonly ulong SetIdentityMapAddress = In(0x48, sizeof(ulong));
    public static readonly ulong EnableCapability = In(0xA3, sizeof(KvmEnableCapability));
    public static readonly ulong SetMsrFilter = In(0xC6, sizeof(KvmMsrFilter));

    public static readonly ulong SetGsiRouting = In(0x6A, KvmMsiRoute.HeaderSize);
    public static readonly ulong IoEvent = In(0x79, sizeof(KvmIoEvent));
    public static readonly ulong SignalMsi = In(0xA5, sizeof(KvmMsi));

    // Asked of a vCPU.
    public const ulong Run = None | 0x80;
    public const ulong Nmi = None | 0x9A;
    public const ulong SetTscKilohertz = None | 0xA2;
    public const ulong GetTscKilohertz = None | 0xA3;
    public static readonly ulong GetRegisters = Out(0x81, sizeof(KvmRegisters));
    public static readonly ulong SetRegisters = In(0x82, sizeof(KvmRegisters));
    public static readonly ulong GetSpecialRegisters = Out(0x83, KvmSpecialRegisters.ShortSize);
    public static readonly ulong SetSpecialRegisters = In(0x84, KvmSpecialRegisters.ShortSize);
    public static readonly ulong Interrupt = In(0x86, sizeof(uint));
    public static readonly ulong GetMsrs = Both(0x88, KvmMsrEntry.HeaderSize);
    public static readonly ulong SetMsrs = In(0x89, KvmMsrEntry.HeaderSize);
    public static readonly ulong SetSignalMask = In(0x8B, sizeof(uint));
    public static readonly ulong GetLocalApic = Out(0x8E, KvmLocalApic.Size);
    public static readonly ulong SetLocalApic = In(0x8F, KvmLocalApic.Size);
    public static readonly ulong GetMpState = Out(0x98, sizeof(uint));
    public static readonly ulong SetMpState = In(0x99, sizeof(uint));
    public static readonly ulong SetCpuid = In(0x90, KvmCpuidEntry.HeaderSize);
    public static readonly ulong SetupMachineCheck = In(0x9C, sizeof(ulong));
    public static readonly ulong GetEvents = Out(0x9F, sizeof(KvmEvents));
    public static readonly ulong SetEvents = In(0xA0, sizeof(KvmEvents));
    public static readonly ulong GetDebugRegisters = Out(0xA1, sizeof(KvmDebugRegisters));
    public static readonly ulong SetDebugRegisters = In(0xA2, sizeof(KvmDebugRegisters));
    public static readonly ulong GetXsave = Out(0xA4, KvmXsave.Size);
    public static readonly ulong SetXsave = In(0xA5, KvmXsave.Size);
    public static readonly ulong GetExtendedControl = Out(0xA6, sizeof(KvmExtendedControl));
    public static readonly ulong SetExtendedControl = In(0xA7, sizeof(KvmExtendedControl));
    public static readonly ulong GetSpecialRegisters2 = Out(0xCC, KvmSpecialRegisters.LongSize);
    public static readonly ulong SetSpecialRegisters2 = In(0xCD, KvmSpecialRegisters.LongSize);
    public static readonly ulong GetXsave2 = Out(0xCF, KvmXsave.Size);
    public static readonly ulong SetDeviceAttribute = In(0xE1, sizeof(KvmDeviceAttribute));
    public static readonly ulong GetDeviceAttribute = In(0xE2, sizeof(KvmDeviceAttribute));

    // asm-generic/ioctl.h: direction in bits 30 and 31, size from bit 16, the subsystem's letter from bit 8, the number.
    private const ulong None = 0xAE << 8;

    private static ulong In(uint number, int size) => 1ul << 30 | (ulong)size << 16 | None | number;

    private static ulong Out(uint number, int size) => 2ul << 30 | (ulong)size << 16 | None | number;

    private static ulong Both(uint number, int size) => 3ul << 30 | (ulong)size << 16 | None | number;
}
