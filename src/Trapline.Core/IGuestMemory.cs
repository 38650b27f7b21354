namespace Trapline.Core;

/// <summary>Bounds-checked access to guest RAM for devices. No method throws or faults, whatever the address.</summary>
public interface IGuestMemory
{
    /// <summary>Copies from guest RAM; false (and <paramref name="destination"/> undefined) if any byte is not RAM or ROM.</summary>
    bool TryRead(Gpa address, Span<byte> destination);

    /// <summary>Copies to guest RAM, marking pages dirty and dropping translated code; false if any byte is not RAM.</summary>
    bool TryWrite(Gpa address, ReadOnlySpan<byte> source);
}
