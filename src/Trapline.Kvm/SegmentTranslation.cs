using Trapline.Kvm.Abi;
using Trapline.X86;

namespace Trapline.Kvm;

/// <summary>Segment registers between our records and the kernel's.</summary>
internal static class SegmentTranslation
{
    public static SegmentState FromKvm(in KvmSegment s) => new(s.Selector, s.Base, s.Limit,
        s.Type | (uint)s.NotSystem << 4 | (uint)s.Dpl << SegmentAttributes.DplShift | (uint)s.Present << 7 | (uint)s.Available << 12
        | (uint)s.Long << 13 | (uint)s.Big << 14 | (uint)s.Granular << 15 | (uint)s.Unusable << 16);

    public static KvmSegment ToKvm(in SegmentState s) => new()
    {
        Selector = s.Selector,
        Base = s.Base,
        Limit = s.Limit,
        Type = (byte)(s.Attributes & SegmentAttributes.TypeMask),
        NotSystem = Bit(s, SegmentAttributes.NotSystem),
        Dpl = (byte)((s.Attributes & SegmentAttributes.DplMask) >> SegmentAttributes.DplShift),
        Present = Bit(s, SegmentAttributes.Present),
        Available = Bit(s, SegmentAttributes.Available),
        Long = Bit(s, SegmentAttributes.Long),
        Big = Bit(s, SegmentAttributes.Big),
        Granular = Bit(s, SegmentAttributes.Granular),
        Unusable = Bit(s, SegmentAttributes.Unusable),
    };

    private static byte Bit(in SegmentState s, uint attribute) => (byte)((s.Attributes & attribute) != 0 ? 1 : 0);
}
