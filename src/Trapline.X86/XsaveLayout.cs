namespace Trapline.X86;

/// <summary>State components that XCR0 enables, and their places in an XSAVE area (SDM Vol. 1, 13.1, 13.4). CPUID leaf 0DH says the same.</summary>
public static class XsaveLayout
{
    public const ulong X87 = 1ul << 0;
    public const ulong Sse = 1ul << 1;
    public const ulong Avx = 1ul << 2;
    public const ulong Pkru = 1ul << 9;

    /// <summary>Bit 63 of XCOMP_BV: the area is in the compacted format.</summary>
    public const ulong Compacted = 1ul << 63;

    /// <summary>FXSAVE's part of the area.</summary>
    public const int LegacySize = 512;
    public const int Header = 512;
    public const int HeaderSize = 64;
    public const int Extended = Header + HeaderSize;

    public const int AvxOffset = Extended;
    public const int AvxSize = 256;

    /// <summary>Right after AVX, as on processors without AVX-512. CPUID tells software.</summary>
    public const int PkruOffset = AvxOffset + AvxSize;
    public const int PkruSize = 8;

    public const int FullSize = PkruOffset + PkruSize;

    /// <summary>The components that a model has, all of them user state.</summary>
    public static ulong Supported(CpuModel model) =>
        X87 | Sse | (model.Has(Feature.Avx) ? Avx : 0) | (model.Has(Feature.Pku) ? Pkru : 0);

    /// <summary>Bytes of a standard-format area for these components.</summary>
    public static int StandardSize(ulong components) =>
        (components & Pkru) != 0 ? PkruOffset + PkruSize : (components & Avx) != 0 ? AvxOffset + AvxSize : Extended;

    /// <summary>Bytes of a compacted area for these components; none of ours asks for alignment.</summary>
    public static int CompactedSize(ulong components) =>
        Extended + ((components & Avx) != 0 ? AvxSize : 0) + ((components & Pkru) != 0 ? PkruSize : 0);
}
