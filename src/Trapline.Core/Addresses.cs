using System.Globalization;

namespace Trapline.Core;

/// <summary>A guest-physical address, in bytes.</summary>
public readonly record struct Gpa(ulong Value)
{
    public static Gpa operator +(Gpa a, ulong offset) => new(a.Value + offset);
    public override string ToString() => "0x" + Value.ToString("x", CultureInfo.InvariantCulture);
}

/// <summary>A guest-virtual address after segmentation (the SDM's "linear address"), in bytes.</summary>
public readonly record struct Gva(ulong Value)
{
    public static Gva operator +(Gva a, ulong offset) => new(a.Value + offset);
    public override string ToString() => "0x" + Value.ToString("x", CultureInfo.InvariantCulture);
}
