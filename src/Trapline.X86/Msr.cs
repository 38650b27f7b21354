namespace Trapline.X86;

/// <summary>Model-specific register indices (SDM Vol. 4).</summary>
public static class Msr
{
    public const uint Tsc = 0x10;
    public const uint PlatformId = 0x17;
    public const uint ApicBase = 0x1B;
    public const uint FeatureControl = 0x3A;
    public const uint TscAdjust = 0x3B;
    public const uint SpecCtrl = 0x48;
    public const uint PredCmd = 0x49;
    public const uint MicrocodeUpdate = 0x79;
    public const uint MicrocodeRevision = 0x8B;
    public const uint PlatformInfo = 0xCE;
    public const uint MtrrCap = 0xFE;
    public const uint ArchCapabilities = 0x10A;
    public const uint MiscFeatureEnables = 0x140;
    public const uint SysenterCs = 0x174;
    public const uint SysenterEsp = 0x175;
    public const uint SysenterEip = 0x176;
    public const uint McgCap = 0x179;
    public const uint McgStatus = 0x17A;
    public const uint McgControl = 0x17B;
    public const uint MiscEnable = 0x1A0;
    public const uint DebugCtl = 0x1D9;
    public const uint LastBranchFromIp = 0x1DB;
    public const uint LastBranchToIp = 0x1DC;
    public const uint LastInterruptFromIp = 0x1DD;
    public const uint LastInterruptToIp = 0x1DE;
    public const uint Pat = 0x277;
    public const uint Mc0Control2 = 0x280;
    public const uint Mc0Control = 0x400;
    public const uint TscDeadline = 0x6E0;
    public const uint X2ApicFirst = 0x800;
    public const uint X2ApicLast = 0x8FF;
    public const uint Xss = 0xDA0;

    // KVM's (Linux, Documentation/virt/kvm/x86/msr.rst).
    public const uint KvmWallClockOld = 0x11;
    public const uint KvmSystemTimeOld = 0x12;
    public const uint KvmFirst = 0x4B564D00;
    public const uint KvmWallClock = 0x4B564D00;
    public const uint KvmSystemTime = 0x4B564D01;
    public const uint KvmStealTime = 0x4B564D03;
    public const uint KvmPvEoi = 0x4B564D04;
    public const uint KvmPollControl = 0x4B564D05;
    public const uint KvmLast = 0x4B564DFF;

    public const uint Efer = 0xC0000080;
    public const uint Star = 0xC0000081;
    public const uint Lstar = 0xC0000082;
    public const uint Cstar = 0xC0000083;
    public const uint Fmask = 0xC0000084;
    public const uint FsBase = 0xC0000100;
    public const uint GsBase = 0xC0000101;
    public const uint KernelGsBase = 0xC0000102;
    public const uint TscAux = 0xC0000103;

    /// <summary>AMD's HWCR.</summary>
    public const uint HardwareConfiguration = 0xC0010015;

    /// <summary>AMD's DE_CFG: bit 1 says that LFENCE waits for what precedes it.</summary>
    public const uint DecodeConfiguration = 0xC0011029;
}
