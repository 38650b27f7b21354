namespace Trapline.Kvm.Abi;

/// <summary>What a host's KVM may or may not offer (api.rst 4.4, 6, 7 and 8), by number.</summary>
internal enum KvmCapability
{
    UserMemory = 3,
    SetTssAddress = 4,
    ReadOnlyMemory = 81,
    VcpuEvents = 41,
    DebugRegisters = 50,
    Xsave = 55,
    Xcrs = 56,
    TscControl = 60,
    SetIdentityMapAddress = 37,
    ImmediateExit = 136,
    ExceptionPayload = 164,
    UserSpaceMsr = 188,
    MsrFilter = 189,
    ExitOnEmulationFailure = 204,
    SpecialRegisters2 = 200,
    Xsave2 = 208,
    PmuCapability = 212,
    VcpuAttributes = 127,
    SignalMsi = 77,
    SplitIrqchip = 121,
    X2ApicApi = 129,
    IoEvent = 36,
    IoEventAnyLength = 122,
}
