namespace Trapline.Cpu.Mmu;

/// <summary>What an access wants, as the page walker checks it. The low bits are those of a #PF error code (SDM Vol. 3, 4.7).</summary>
[Flags]
public enum Access : uint
{
    Read = 0,
    Write = 1u << 1,
    User = 1u << 2,
    Fetch = 1u << 4,
    /// <summary>A supervisor access made on behalf of any ring (descriptor tables, TSS): SMAP's AC exemption does not apply (SDM Vol. 3, 4.6).</summary>
    Implicit = 1u << 31,
}

/// <summary>#PF error code bits (SDM Vol. 3, 4.7).</summary>
public static class PageFaultCode
{
    public const uint Present = 1u << 0;
    public const uint Write = 1u << 1;
    public const uint User = 1u << 2;
    public const uint Reserved = 1u << 3;
    public const uint Fetch = 1u << 4;
    public const uint ProtectionKey = 1u << 5;
}
