using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Trapline.Cpu.Mmu;

/// <summary>
/// The first-level software TLB: direct-mapped arrays that turn a linear address into a host pointer in a few instructions.
/// </summary>
/// <remarks>
/// An array is 2 * <see cref="Entries"/> words: tags, then addends. Entry i's tag is the linear address of a page; an access of n bytes at
/// address a hits if <c>a - tag &lt;= 4096 - n</c> (unsigned), which also rejects page crossings; the host pointer is then <c>a + addend</c>.
/// An empty entry's tag is a page that would sit in another slot, so no address that selects the slot can hit it; and in one that is far, so that no
/// address is right below it (see <see cref="Translator.Emit.BlockEmitter"/>, probes that touch no flags).
/// Reads and writes have separate arrays, and so has each privilege context, so ring transitions and STAC/CLAC only swap two pointers.
/// </remarks>
public sealed unsafe class SoftTlb : IDisposable
{
    public const int Entries = 4096;
    public const ulong IndexMask = Entries - 1;

    /// <summary>Ring 0-2 with SMAP in force; ring 0-2 with user pages allowed; ring 3; always empty (every access takes the slow path).</summary>
    public const int Contexts = 4;
    public const int Supervisor = 0;
    public const int SupervisorAc = 1;
    public const int User = 2;
    public const int Bypass = 3;

    private const int ArrayWords = 2 * Entries;

    /// <summary>Size of all arrays.</summary>
    public const int Bytes = Contexts * 2 * ArrayWords * sizeof(ulong);
    private readonly ulong* _arrays;
    private readonly ulong* _emptyTags;
    private uint _used;

    /// <param name="arrays"><see cref="Bytes"/> of zeroed page-aligned memory that outlives this object.</param>
    public SoftTlb(ulong* arrays)
    {
        _arrays = arrays;
        _emptyTags = (ulong*)NativeMemory.AlignedAlloc(Entries * sizeof(ulong), 4096);
        for (int i = 0; i < Entries; i++)
            _emptyTags[i] = (ulong)(i ^ Entries / 2) << 12;
        // Memory that was never touched is nearly empty already: tag 0 is page 0, which selects slot 0, and right below it is slot 4095.
        for (int which = 0; which < Contexts * 2; which++)
            foreach (int i in (ReadOnlySpan<int>)[0, Entries - 1])
                _arrays[which * ArrayWords + i] = _emptyTags[i];
    }

    public ulong* Reads(int context) => _arrays + context * 2 * ArrayWords;
    public ulong* Writes(int context) => _arrays + (context * 2 + 1) * ArrayWords;

    /// <summary>Makes a page hit. <paramref name="addend"/> is the page's host address minus its linear address.</summary>
    public void Fill(int context, bool write, ulong page, ulong addend)
    {
        if (context == Bypass)
            return;
        int which = context * 2 + (write ? 1 : 0);
        ulong* array = _arrays + which * ArrayWords;
        ulong index = (page >> 12) & IndexMask;
        array[index] = page;
        array[index + Entries] = addend;
        _used |= 1u << which;
    }

    /// <summary>From now on translated code may fill this context's arrays by itself.</summary>
    public void MayFill(int context) => _used |= 3u << (context * 2);

    /// <summary>Empties every array that holds anything.</summary>
    public void Flush()
    {
        for (int which = 0; which < Contexts * 2; which++)
            if ((_used & (1u << which)) != 0)
                NativeMemory.Copy(_emptyTags, _arrays + which * ArrayWords, Entries * sizeof(ulong));
        _used = 0;
    }

    /// <summary>Empties the slot of one page in every array.</summary>
    public void FlushPage(ulong linear)
    {
        ulong index = (linear >> 12) & IndexMask;
        for (int which = 0; which < Contexts * 2; which++)
            _arrays[which * ArrayWords + (int)index] = _emptyTags[index];
    }

    /// <summary>Empties the write entries whose page is at host address <paramref name="host"/>: stores to it must be seen.</summary>
    public void FlushWritesTo(ulong host)
    {
        for (int which = 1; which < Contexts * 2; which += 2)
        {
            if ((_used & (1u << which)) == 0)
                continue;
            ulong* array = _arrays + which * ArrayWords;
            for (int i = 0; i < Entries; i += Vector256<ulong>.Count)
                if (Vector256.EqualsAny(Vector256.Load(array + i) + Vector256.Load(array + i + Entries), Vector256.Create(host)))
                    EmptyThoseAt(array, i, host);
        }
    }

    private void EmptyThoseAt(ulong* array, int first, ulong host)
    {
        for (int i = first; i < first + Vector256<ulong>.Count; i++)
            if (array[i] + array[i + Entries] == host)
                array[i] = _emptyTags[i];
    }

    public void Dispose()
    {
        NativeMemory.AlignedFree(_emptyTags);
    }
}
