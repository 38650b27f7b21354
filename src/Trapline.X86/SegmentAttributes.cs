namespace Trapline.X86;

/// <summary>Bits of a segment's access rights, in the descriptor's own layout shifted right by 8 (SDM Vol. 3, 3.4.5 and 25.4.1).</summary>
public static class SegmentAttributes
{
    public const uint TypeMask = 0xF;
    public const uint Accessed = 1u << 0;
    /// <summary>Data: writable. Code: readable.</summary>
    public const uint Writable = 1u << 1;
    /// <summary>Data: expand-down. Code: conforming.</summary>
    public const uint ExpandDown = 1u << 2;
    public const uint Code = 1u << 3;
    public const uint NotSystem = 1u << 4;
    public const uint DplMask = 3u << 5;
    public const int DplShift = 5;
    public const uint Present = 1u << 7;
    public const uint Available = 1u << 12;
    public const uint Long = 1u << 13;
    public const uint Big = 1u << 14;
    public const uint Granular = 1u << 15;
    /// <summary>Loaded with a null selector.</summary>
    public const uint Unusable = 1u << 16;
}

/// <summary>Segment register numbers as instructions encode them; then the two system ones.</summary>
public static class SegmentIndex
{
    public const int Es = 0;
    public const int Cs = 1;
    public const int Ss = 2;
    public const int Ds = 3;
    public const int Fs = 4;
    public const int Gs = 5;
    public const int Ldtr = 6;
    public const int Tr = 7;
}
