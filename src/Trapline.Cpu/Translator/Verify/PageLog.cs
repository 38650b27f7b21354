using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace Trapline.Cpu.Translator.Verify;

/// <summary>
/// Pages of guest RAM that either engine opened for writing: as they were, and as the translation left them. Host addresses of whole pages inside the
/// backing store come from the soft TLB, which is what makes the copies sound.
/// </summary>
/// <remarks>One vCPU: another's stores, or a device's, would look like a divergence.</remarks>
public sealed unsafe class PageLog : IDisposable
{
    private const int PageSize = 4096;

    /// <summary>A block of 64 instructions opens fewer.</summary>
    private const int Most = 256;

    private readonly byte* _images = (byte*)NativeMemory.AlignedAlloc(2 * Most * PageSize, PageSize);
    private readonly nint[] _pages = new nint[Most];
    private int _count;
    private int _translated;
    private bool _open;

    public void Begin()
    {
        _count = 0;
        _open = true;
    }

    public void End() => _open = false;

    /// <summary>A page is about to become writable.</summary>
    public void Note(nint page)
    {
        if (!_open || _pages.AsSpan(0, _count).Contains(page))
            return;
        if (_count == Most)
            throw new InvalidOperationException("a block opened more pages than it has instructions for");
        _pages[_count] = page;
        Copy((byte*)page, Before(_count));
        _count++;
    }

    /// <summary>The translation is done: keeps what it wrote and takes it back.</summary>
    public void TakeBack()
    {
        _translated = _count;
        for (int i = 0; i < _count; i++)
        {
            Copy((byte*)_pages[i], After(i));
            Copy(Before(i), (byte*)_pages[i]);
        }
    }

    /// <summary>Adds a line for the first difference of each page between what the translation wrote and what is there. True if there was none.</summary>
    public bool Matches(byte* backing, StringBuilder? text)
    {
        bool same = true;
        for (int i = 0; i < _count; i++)
        {
            ReadOnlySpan<byte> translated = new(i < _translated ? After(i) : Before(i), PageSize), interpreted = new((byte*)_pages[i], PageSize);
            int at = translated.CommonPrefixLength(interpreted);
            if (at == PageSize)
                continue;
            same = false;
            text?.Append(CultureInfo.InvariantCulture,
                $"  memory at backing offset {(ulong)_pages[i] - (ulong)backing + (ulong)at:x}: translator {translated[at]:x2} interpreter {interpreted[at]:x2}\n");
        }
        return same;
    }

    private byte* Before(int i) => _images + (nint)i * PageSize;
    private byte* After(int i) => _images + (nint)(Most + i) * PageSize;

    private static void Copy(byte* from, byte* to) => Buffer.MemoryCopy(from, to, PageSize, PageSize);

    public void Dispose() => NativeMemory.AlignedFree(_images);
}
