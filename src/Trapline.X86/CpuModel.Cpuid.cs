using System.Numerics;

namespace Trapline.X86;

/// <summary>CPUID's answers (SDM Vol. 2, CPUID).</summary>
public sealed partial class CpuModel
{
    /// <summary>
    /// IA32_ARCH_CAPABILITIES: in an interpreter no guest ring sees another's data by speculation, so every such fault is truthfully absent. Linux then
    /// neither isolates page tables nor uses retpolines.
    /// </summary>
    public const ulong ArchCapabilities = 1ul << 0 // RDCL_NO
        | 1ul << 1 // IBRS_ALL
        | 1ul << 3 // SKIP_L1DFL_VMENTRY
        | 1ul << 4 // SSB_NO
        | 1ul << 5 // MDS_NO
        | 1ul << 6 // IF_PSCHANGE_MC_NO
        | 1ul << 8 // TAA_NO
        | 1ul << 13 // SBDR_SSDP_NO
        | 1ul << 14 // FBSDP_NO
        | 1ul << 15 // PSDP_NO
        | 1ul << 20 // BHI_NO
        | 1ul << 24 // PBRSB_NO
        | 1ul << 26 // GDS_NO
        | 1ul << 27 // RFDS_NO
        | 1ul << 62; // ITS_NO

    private const uint HypervisorFirst = 0x4000_0000;
    private const uint HypervisorFeatures = 0x4000_0001;
    private const uint HypervisorLast = 0x4000_0010;
    private const uint ExtendedFirst = 0x8000_0000;
    private const uint ExtendedLast = 0x8000_0008;

    private uint BasicLast => IsIntel ? 0x16u : 0xDu;

    /// <summary>Answers CPUID.</summary>
    public CpuidResult Cpuid(uint leaf, uint subleaf, in CpuidInputs inputs)
    {
        bool known = leaf <= BasicLast || leaf is >= ExtendedFirst and <= ExtendedLast
            || (leaf is >= HypervisorFirst and <= HypervisorLast && Has(Feature.Hypervisor));
        if (!known)
        {
            // Intel processors answer with their last basic leaf, AMD's with zeros.
            if (!IsIntel)
                return default;
            leaf = BasicLast;
        }
        return leaf switch
        {
            0 => VendorLeaf(BasicLast),
            1 => Identification(inputs),
            2 when IsIntel => new CpuidResult(0xFFB5_0301, 0, 0, 0), // 64-entry TLBs; caches: "see leaf 4"
            4 when IsIntel => Caches(subleaf, inputs.CpuCount),
            5 when Has(Feature.Monitor) => new CpuidResult(64, 64, 3, 0x20),
            6 => Masked(6, 0),
            7 => subleaf switch { 0 => StructuredFeatures(inputs), 2 => new CpuidResult(0, 0, 0, BranchHistory), _ => default },
            0xB when IsIntel => Topology(subleaf, inputs),
            0xD when Has(Feature.Xsave) => SaveArea(subleaf, inputs),
            0x15 when IsIntel => new CpuidResult(1, 1, (uint)TscFrequency, 0), // crystal = TSC: the APIC timer counts crystal ticks, too
            0x16 when IsIntel => new CpuidResult((uint)(TscFrequency / 1_000_000), (uint)(TscFrequency / 1_000_000), 100, 0),
            HypervisorFirst when Has(Feature.Kvm) => new CpuidResult(HypervisorLast, Word("KVMK"), Word("VMKV"), Word("M\0\0\0")),
            HypervisorFirst => new CpuidResult(HypervisorLast, Word("Trap"), Word("line"), Word("VMM ")),
            HypervisorFeatures => Masked(leaf, 0),
            HypervisorLast => new CpuidResult((uint)(TscFrequency / 1000), (uint)(TscFrequency / 1000), 0, 0),
            ExtendedFirst => IsIntel ? new CpuidResult(ExtendedLast, 0, 0, 0) : VendorLeaf(ExtendedLast),
            0x8000_0001 => ExtendedIdentification(inputs),
            >= 0x8000_0002 and <= 0x8000_0004 => Brand((int)(leaf - 0x8000_0002)),
            0x8000_0005 when !IsIntel => new CpuidResult(0, 0, 32u << 24 | 8 << 16 | 1 << 8 | 64, 32u << 24 | 8 << 16 | 1 << 8 | 64),
            0x8000_0006 => new CpuidResult(0, 0, 1024u << 16 | 8 << 12 | 64, IsIntel ? 0 : 32u << 18 | 8 << 12 | 1 << 8 | 64),
            0x8000_0007 => Masked(leaf, 0),
            0x8000_0008 => new CpuidResult((uint)(PhysicalAddressBits | (LinearAddressBits << 8)), 0, IsIntel ? 0 : AmdCores(inputs.CpuCount), 0),
            _ => default,
        };
    }

    private CpuidResult VendorLeaf(uint last) => IsIntel
        ? new CpuidResult(last, Word("Genu"), Word("ntel"), Word("ineI"))
        : new CpuidResult(last, Word("Auth"), Word("cAMD"), Word("enti"));

    private CpuidResult Identification(in CpuidInputs inputs)
    {
        CpuidResult bits = Masked(1, 0);
        uint logical = Packed(inputs.CpuCount);
        uint ebx = 8u << 8 | Math.Min(logical, 255) << 16 | inputs.ApicId << 24; // CLFLUSH lines of 64 bytes
        uint ecx = bits.Ecx | (Has(Feature.Xsave) && (inputs.Cr4 & Cr4.OsXsave) != 0 ? 1u << 27 : 0);
        uint edx = (bits.Edx & ~Absent(inputs)) | (inputs.CpuCount > 1 && Has(Feature.Ht) ? 1u << 28 : 0);
        return new CpuidResult(Signature, ebx, ecx, edx);
    }

    /// <summary>A local APIC that IA32_APIC_BASE turned off is not reported (SDM Vol. 3, 10.4.3).</summary>
    private static uint Absent(in CpuidInputs inputs) => inputs.ApicOff ? 1u << 9 : 0;

    /// <summary>
    /// Leaf 7, subleaf 2, EDX: BHI_CTRL (SPEC_CTRL.BHI_DIS_S exists; it has nothing to do) and MCDT_NO. Linux clears branch history by a loop at every
    /// system call of a processor without BHI_CTRL, even if it has BHI_NO.
    /// </summary>
    private uint BranchHistory => (Has(Feature.SpecCtrl) ? 1u << 4 : 0) | 1u << 5;

    private CpuidResult StructuredFeatures(in CpuidInputs inputs)
    {
        CpuidResult bits = Masked(7, 0);
        uint ospke = Has(Feature.Pku) && (inputs.Cr4 & Cr4.Pke) != 0 ? 1u << 4 : 0;
        uint stibp = Has(Feature.SpecCtrl) ? 1u << 27 : 0;
        return bits with { Eax = 2, Ecx = bits.Ecx | ospke, Edx = bits.Edx | stibp };
    }

    private CpuidResult ExtendedIdentification(in CpuidInputs inputs)
    {
        CpuidResult bits = Masked(0x8000_0001, 0);
        if (IsIntel)
            return bits with { Eax = 0 };
        // AMD repeats what leaf 1's EDX says of the classic features.
        const uint shared = 0x0183_F3FF;
        uint ecx = bits.Ecx | (inputs.CpuCount > 1 ? 2u : 0);
        return new CpuidResult(Signature, 0, ecx, bits.Edx | (Masked(1, 0).Edx & shared & ~Absent(inputs)));
    }

    /// <summary>Ids per package: a power of two.</summary>
    private static uint Packed(int count) => BitOperations.RoundUpToPowerOf2((uint)Math.Max(count, 1));

    private static uint AmdCores(int count) => (uint)BitOperations.Log2(Packed(count)) << 12 | (uint)(count - 1);

    private static CpuidResult Caches(uint subleaf, int count)
    {
        uint cores = Packed(count) - 1;
        return subleaf switch
        {
            0 => Cache(type: 1, level: 1, ways: 8, sets: 64, shared: 0),
            1 => Cache(type: 2, level: 1, ways: 8, sets: 64, shared: 0),
            2 => Cache(type: 3, level: 2, ways: 16, sets: 1024, shared: 0),
            3 => Cache(type: 3, level: 3, ways: 16, sets: 16384, shared: cores),
            _ => default,
        };

        CpuidResult Cache(uint type, uint level, uint ways, uint sets, uint shared) =>
            new(type | level << 5 | 1u << 8 | shared << 14 | Math.Min(cores, 63) << 26, 63 | (ways - 1) << 22, sets - 1, level == 3 ? 2u : 0);
    }

    /// <summary>One thread per core, all cores in one package.</summary>
    private static CpuidResult Topology(uint subleaf, in CpuidInputs inputs) => subleaf switch
    {
        0 => new CpuidResult(0, 1, 1u << 8, inputs.ApicId),
        1 => new CpuidResult((uint)BitOperations.Log2(Packed(inputs.CpuCount)), (uint)inputs.CpuCount, 2u << 8 | 1, inputs.ApicId),
        _ => new CpuidResult(0, 0, subleaf & 0xFF, inputs.ApicId),
    };

    private const uint LegacyArea = 512 + 64;
    private const uint AvxSize = 256;
    private const uint PkruOffset = LegacyArea + AvxSize;
    private const uint PkruSize = 8;

    /// <summary>XCR0 bits that this model's XSAVE manages: x87, SSE, AVX, PKRU.</summary>
    public ulong Xcr0Bits => 3ul | (Has(Feature.Avx) ? 4ul : 0) | (Has(Feature.Pku) ? 1ul << 9 : 0);

    /// <summary>Bytes of the standard XSAVE layout for a set of components (SDM Vol. 1, 13.4.3).</summary>
    public static uint StandardSaveSize(ulong components) =>
        (components & (1 << 9)) != 0 ? PkruOffset + PkruSize : (components & 4) != 0 ? PkruOffset : LegacyArea;

    /// <summary>Bytes of the compacted layout.</summary>
    public static uint CompactedSaveSize(ulong components) =>
        LegacyArea + ((components & 4) != 0 ? AvxSize : 0) + ((components & (1 << 9)) != 0 ? PkruSize : 0);

    private CpuidResult SaveArea(uint subleaf, in CpuidInputs inputs) => subleaf switch
    {
        0 => new CpuidResult((uint)Xcr0Bits, StandardSaveSize(inputs.Xcr0), StandardSaveSize(Xcr0Bits), 0),
        1 => Masked(0xD, 1) with
        {
            Ebx = Has(Feature.XsaveS) ? CompactedSaveSize(inputs.Xcr0 | inputs.Xss) : Has(Feature.XsaveC) ? CompactedSaveSize(inputs.Xcr0) : 0,
        },
        2 when Has(Feature.Avx) => new CpuidResult(AvxSize, LegacyArea, 0, 0),
        9 when Has(Feature.Pku) => new CpuidResult(PkruSize, PkruOffset, 0, 0),
        _ => default,
    };

    private static CpuidResult Brand(int part)
    {
        ReadOnlySpan<byte> name = "Trapline software CPU\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"u8;
        ReadOnlySpan<byte> at = name.Slice(part * 16, 16);
        return new CpuidResult(BitConverter.ToUInt32(at), BitConverter.ToUInt32(at[4..]), BitConverter.ToUInt32(at[8..]), BitConverter.ToUInt32(at[12..]));
    }

    private static uint Word(string four) => four[0] | (uint)four[1] << 8 | (uint)four[2] << 16 | (uint)four[3] << 24;

    private CpuidResult Masked(uint leaf, uint subleaf)
    {
        int at = Array.IndexOf(CpuFeatures.Leaves, (leaf, subleaf)) * 4;
        return new CpuidResult(_masks[at], _masks[at + 1], _masks[at + 2], _masks[at + 3]);
    }

    private uint[] FeatureMasks()
    {
        uint[] masks = new uint[CpuFeatures.Leaves.Length * 4];
        foreach (ref readonly FeatureBit bit in CpuFeatures.Bits.AsSpan())
        {
            int at = Array.IndexOf(CpuFeatures.Leaves, (bit.Leaf, bit.Subleaf));
            if (at >= 0 && Has(bit.Feature))
                masks[at * 4 + bit.Register] |= 1u << bit.Bit;
        }
        return masks;
    }
}
