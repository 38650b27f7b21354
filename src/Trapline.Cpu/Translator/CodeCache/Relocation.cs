namespace Trapline.Cpu.Translator.CodeCache;

/// <summary>What a field of emitted code holds that changes when the code, or the guest code it was made from, lies elsewhere.</summary>
public enum RelocationKind : byte
{
    /// <summary>32 bits: the displacement of a jump or call out of its half of the translation.</summary>
    Branch,
    /// <summary>32 bits: the number of one of its exit sites.</summary>
    Site,
    /// <summary>64 bits: a guest address relative to RIP.</summary>
    Address,
    /// <summary>64 bits: minus such an address.</summary>
    Negative,
    /// <summary>32 bits: the host address of a soft-TLB entry, which the last <see cref="Address"/> before selects.</summary>
    TlbEntry,
}

/// <summary>One field of a translation that has to be mended in a copy of it.</summary>
/// <param name="Cold">It lies in the part out of line.</param>
/// <param name="Offset">Bytes from the part's start.</param>
public readonly record struct Relocation(RelocationKind Kind, bool Cold, ushort Offset);
