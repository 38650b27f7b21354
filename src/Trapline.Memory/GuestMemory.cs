using Trapline.Core;
using Trapline.Host;

namespace Trapline.Memory;

/// <summary>What a guest-physical page is backed by.</summary>
public enum MemoryKind : byte
{
    Ram,
    Rom,
}

/// <summary>A range of guest-physical space backed by the machine's memory.</summary>
/// <param name="Start">First guest-physical address; page aligned.</param>
/// <param name="Length">Bytes; a multiple of 4,096.</param>
/// <param name="Kind">RAM, or ROM that ignores stores.</param>
/// <param name="Offset">Where the range begins in the backing store.</param>
public readonly record struct MemoryRegion(Gpa Start, ulong Length, MemoryKind Kind, ulong Offset)
{
    public ulong End => Start.Value + Length;
}

/// <summary>Facts kept for each page of the backing store.</summary>
[Flags]
public enum PageMarks : byte
{
    None = 0,
    /// <summary>Written since the dirty log was last collected.</summary>
    Dirty = 1,
    /// <summary>Some vCPU holds decoded or translated code from this page: stores must be announced. See <see cref="CodePages"/>.</summary>
    Code = 2,
}

/// <summary>An engine that keeps something derived from guest memory. Called from any thread.</summary>
public interface IMemoryObserver
{
    /// <summary>Bytes of a page marked <see cref="PageMarks.Code"/> have changed.</summary>
    void CodeWritten(Gpa address, ulong length);

    /// <summary>The physical map or the dirty log changed: every cached translation must be dropped.</summary>
    void MapChanged();

    /// <summary>The dirty log is being collected: pages that were written without a mark are marked now.</summary>
    void MarkWritten() { }
}

/// <summary>Guest-physical memory: which addresses are RAM or ROM, and where their bytes are in this process.</summary>
/// <remarks>
/// Unsafe because engines need host pointers (HVA). A pointer is given only for a whole page inside the backing mapping,
/// so an engine that stays within 4,096 bytes of it cannot leave guest memory. Addresses outside every region are open bus.
/// </remarks>
public sealed unsafe class GuestMemory : IGuestMemory, IDisposable
{
    public const int PageShift = 12;
    public const ulong PageSize = 1ul << PageShift;

    private const string TemplateName = "trapline-ram";

    private readonly HostMapping _backing;
    private readonly HostMapping _marks;
    private MemoryTemplate? _template;
    private MemoryRegion[] _regions;
    /// <summary>Bytes written since the template was made that each copy rather gets for itself than that all is copied for it once.</summary>
    private const ulong MostBeside = 2 << 20;

    private IMemoryObserver[] _observers = [];
    private readonly Lock _changing = new();

    /// <param name="regions">Disjoint page-aligned ranges; offsets index the backing store.</param>
    /// <exception cref="ArgumentException">A region is unaligned, empty or overlaps another.</exception>
    public GuestMemory(IReadOnlyList<MemoryRegion> regions)
        : this(Checked(regions), null)
    {
    }

    /// <summary>Memory that begins as a copy of a template, page by page when written.</summary>
    /// <param name="regions">As those of the memory that the template was taken from.</param>
    /// <exception cref="ArgumentException">The regions do not fit the template.</exception>
    public GuestMemory(IReadOnlyList<MemoryRegion> regions, MemoryTemplate template)
        : this(Checked(regions), template)
    {
    }

    private GuestMemory(MemoryRegion[] regions, MemoryTemplate? template)
    {
        _regions = regions;
        ulong size = PageSize;
        foreach (MemoryRegion region in _regions)
            size = Math.Max(size, region.Offset + region.Length);
        if (template != null && template.Length != size)
            throw new ArgumentException($"a template of {template.Length} bytes is not one of {size} bytes of memory", nameof(template));
        _backing = template == null ? HostMapping.CreatePrivate(size) : HostMapping.CreateCopyOnWrite(template.File, template.Offset, size);
        if (template == null)
        {
            _backing.PreferHugePages();
        }
        else
        {
            // What it has beside its file is this memory's own from here on.
            _template = template.Share([]);
            foreach ((ulong start, byte[] bytes) in template.Changes)
                bytes.CopyTo(new Span<byte>(_backing.Base + start, bytes.Length));
        }
        _marks = HostMapping.CreatePrivate(((size >> PageShift) + PageSize) & ~(PageSize - 1));
        Code = new CodePages(this);
    }

    /// <summary>One RAM region at zero: enough for tests and small guests.</summary>
    public static GuestMemory Flat(ulong size) => new([new MemoryRegion(new Gpa(0), size, MemoryKind.Ram, 0)]);

    public IReadOnlyList<MemoryRegion> Regions => _regions;

    /// <summary>Bytes of the backing store.</summary>
    public ulong BackingLength => _backing.Length;

    /// <summary>The base of the backing store (HVA of offset 0).</summary>
    public byte* BackingBase => _backing.Base;

    /// <summary>
    /// The content at this moment, for copies to begin with; this memory goes on as one of them, its host addresses unchanged. Nobody may access it
    /// meanwhile.
    /// </summary>
    /// <remarks>
    /// The first time, what is not zero is copied, and what was written since whenever somebody else uses the last template, unless it is little: then it is given
    /// beside that. Else it goes back into the last template, which costs no more than what was written.
    /// </remarks>
    /// <exception cref="System.ComponentModel.Win32Exception">The host refused memory; nothing has changed.</exception>
    public MemoryTemplate Freeze()
    {
        List<(ulong Start, ulong Length)> written = PrivatePages.Find(_backing.Base, _backing.Length);
        if (_template != null && written.Count == 0)
            return _template.Share();
        if (_template is { IsAnonymous: true, IsShared: false })
        {
            CopyTo(_template, written);
            _backing.ReplaceByCopyOnWrite(_template.File, _template.Offset);
            return _template.Share();
        }
        if (_template != null && written.Aggregate(0ul, (sum, range) => sum + range.Length) <= MostBeside)
            return _template.Share([.. written.Select(range => (range.Start, new Span<byte>(_backing.Base + range.Start, (int)range.Length).ToArray()))]);
        MemoryTemplate next = new(AnonymousFile.Create(TemplateName, _backing.Length), 0, _backing.Length, isAnonymous: true);
        try
        {
            CopyTo(next, _template?.StoredRanges ?? []);
            CopyTo(next, _template == null ? NotZero(written) : written);
            _backing.ReplaceByCopyOnWrite(next.File, 0);
        }
        catch
        {
            next.Dispose();
            throw;
        }
        _template?.Dispose();
        _template = next;
        return _template.Share();
    }

    /// <summary>Makes operations wider than a host atomic (CMPXCHG16B) atomic among the software vCPUs that share this memory.</summary>
    public Lock WideAtomics { get; } = new();

    /// <summary>Which engines keep code of which pages.</summary>
    public CodePages Code { get; }

    /// <summary>One byte of <see cref="PageMarks"/> for each page of the backing store.</summary>
    public byte* Marks => _marks.Base;

    public void AddObserver(IMemoryObserver observer)
    {
        lock (_changing)
            _observers = [.. _observers, observer];
    }

    public void RemoveObserver(IMemoryObserver observer)
    {
        lock (_changing)
            _observers = [.. _observers.Where(o => o != observer)];
    }

    /// <summary>Replaces the physical map (a ROM shadowed, memory hot-plugged). The backing store must already be large enough.</summary>
    public void Remap(IReadOnlyList<MemoryRegion> regions)
    {
        MemoryRegion[] next = Checked(regions);
        foreach (MemoryRegion region in next)
            if (region.Offset + region.Length > _backing.Length)
                throw new ArgumentException("region lies outside the backing store", nameof(regions));
        lock (_changing)
            _regions = next;
        foreach (IMemoryObserver observer in _observers)
            observer.MapChanged();
    }

    /// <summary>Finds the page that holds <paramref name="gpa"/>. False for MMIO and holes.</summary>
    /// <param name="offset">Offset of the page's first byte in the backing store.</param>
    public bool TryGetPage(ulong gpa, out ulong offset, out MemoryKind kind)
    {
        foreach (ref readonly MemoryRegion region in _regions.AsSpan())
        {
            ulong delta = gpa - region.Start.Value;
            if (delta < region.Length)
            {
                offset = (region.Offset + delta) & ~(PageSize - 1);
                kind = region.Kind;
                return true;
            }
        }
        offset = 0;
        kind = default;
        return false;
    }

    public bool TryRead(Gpa address, Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            if (!TryGetPage(address.Value, out ulong offset, out _))
                return false;
            int within = (int)(address.Value & (PageSize - 1));
            int count = Math.Min(destination.Length, (int)PageSize - within);
            new ReadOnlySpan<byte>(_backing.Base + offset + within, count).CopyTo(destination);
            destination = destination[count..];
            address += (ulong)count;
        }
        return true;
    }

    public bool TryWrite(Gpa address, ReadOnlySpan<byte> source)
    {
        while (!source.IsEmpty)
        {
            if (!TryGetPage(address.Value, out ulong offset, out MemoryKind kind) || kind != MemoryKind.Ram)
                return false;
            int within = (int)(address.Value & (PageSize - 1));
            int count = Math.Min(source.Length, (int)PageSize - within);
            source[..count].CopyTo(new Span<byte>(_backing.Base + offset + within, count));
            NoteWrite(address.Value, offset, (ulong)count);
            source = source[count..];
            address += (ulong)count;
        }
        return true;
    }

    /// <summary>RAM in place, for devices that move data without a copy. After writing, <see cref="NoteWritten"/> says so.</summary>
    /// <remarks>The guest may change the bytes at any moment: what is judged is copied first. Good as long as this memory lives.</remarks>
    /// <returns>False if the range is not RAM in one piece, or longer than a span can be.</returns>
    public bool TryGetSpan(Gpa address, ulong length, out Span<byte> span)
    {
        span = TryFind(address.Value, length, out ulong offset, out MemoryKind kind) && kind == MemoryKind.Ram
            ? new Span<byte>(_backing.Base + offset, (int)length)
            : default;
        return !span.IsEmpty;
    }

    /// <summary>RAM or ROM in place, to read from.</summary>
    /// <returns>False if the range is neither, or not in one piece, or longer than a span can be.</returns>
    public bool TryGetReadOnlySpan(Gpa address, ulong length, out ReadOnlySpan<byte> span)
    {
        span = TryFind(address.Value, length, out ulong offset, out _) ? new ReadOnlySpan<byte>(_backing.Base + offset, (int)length) : default;
        return !span.IsEmpty;
    }

    /// <summary>Does for a range that was written through a span what <see cref="NoteWrite"/> does for a page.</summary>
    public void NoteWritten(Gpa address, ulong length)
    {
        for (ulong at = address.Value, end = at + length; at < end;)
        {
            ulong next = Math.Min((at | (PageSize - 1)) + 1, end);
            if (TryGetPage(at, out ulong offset, out MemoryKind kind) && kind == MemoryKind.Ram)
                NoteWrite(at, offset, next - at);
            at = next;
        }
    }

    /// <summary>Gives the host memory of whole pages back; their content is undefined from then on, until written.</summary>
    /// <returns>False if the range is not page-aligned RAM in one piece, or the host refused.</returns>
    public bool TryRelease(Gpa address, ulong length)
    {
        if (((address.Value | length) & (PageSize - 1)) != 0 || !TryFind(address.Value, length, out ulong offset, out MemoryKind kind) || kind != MemoryKind.Ram)
            return false;
        if (!_backing.TryRelease(offset, length))
            return false;
        NoteWritten(address, length);
        return true;
    }

    /// <summary>Finds a range that lies in one region.</summary>
    private bool TryFind(ulong gpa, ulong length, out ulong offset, out MemoryKind kind)
    {
        foreach (ref readonly MemoryRegion region in _regions.AsSpan())
        {
            ulong delta = gpa - region.Start.Value;
            if (delta >= region.Length)
                continue;
            (offset, kind) = (region.Offset + delta, region.Kind);
            return length <= region.Length - delta && length <= int.MaxValue;
        }
        (offset, kind) = (0, default);
        return false;
    }

    /// <summary>Fills ROM and RAM alike: for loaders, before the guest runs.</summary>
    /// <returns>False if any byte is not backed.</returns>
    public bool TryLoad(Gpa address, ReadOnlySpan<byte> image)
    {
        while (!image.IsEmpty)
        {
            if (!TryGetPage(address.Value, out ulong offset, out _))
                return false;
            int within = (int)(address.Value & (PageSize - 1));
            int count = Math.Min(image.Length, (int)PageSize - within);
            image[..count].CopyTo(new Span<byte>(_backing.Base + offset + within, count));
            NoteWrite(address.Value, offset, (ulong)count);
            image = image[count..];
            address += (ulong)count;
        }
        return true;
    }

    /// <summary>After a store: marks its page dirty and, where code was taken from it, announces the change. Within one page.</summary>
    public void NoteWrite(ulong gpa, ulong pageOffset, ulong length)
    {
        // The store must be there for all to see before the mark is read: whoever marks the page later reads it.
        Interlocked.MemoryBarrier();
        byte* mark = _marks.Base + (pageOffset >> PageShift);
        if ((*mark & (byte)PageMarks.Dirty) == 0)
            SetMark(pageOffset, PageMarks.Dirty);
        if ((*mark & (byte)PageMarks.Code) != 0)
            foreach (IMemoryObserver observer in _observers)
                observer.CodeWritten(new Gpa(gpa), length);
    }

    /// <summary>Sets a mark atomically: several vCPUs and device threads share the byte.</summary>
    public void SetMark(ulong pageOffset, PageMarks mark) =>
        Interlocked.Or(ref *(int*)WordOf(pageOffset, out int shift), (byte)mark << shift);

    public void ClearMark(ulong pageOffset, PageMarks mark) =>
        Interlocked.And(ref *(int*)WordOf(pageOffset, out int shift), ~((byte)mark << shift));

    /// <summary>The dirty log has been collected before: whoever writes without marks must know what it writes from here on.</summary>
    public bool IsLogged { get; private set; }

    /// <summary>Calls <paramref name="visit"/> with the backing offset of every page written since the last call, and starts anew.</summary>
    /// <remarks>The first call may name pages that nobody wrote: a kernel that runs the guest is asked to take notes only then.</remarks>
    public void CollectDirty(Action<ulong> visit)
    {
        IsLogged = true;
        foreach (IMemoryObserver observer in _observers)
            observer.MarkWritten();
        ulong pages = _backing.Length >> PageShift;
        List<ulong> dirty = [];
        for (ulong page = 0; page < pages; page++)
            if ((_marks.Base[page] & (byte)PageMarks.Dirty) != 0)
            {
                ClearMark(page << PageShift, PageMarks.Dirty);
                dirty.Add(page << PageShift);
            }
        foreach (IMemoryObserver observer in _observers)
            observer.MapChanged();
        dirty.ForEach(visit);
    }

    /// <summary>The pages of some ranges that hold anything: a huge page comes as a whole, however little of it is used.</summary>
    private List<(ulong Start, ulong Length)> NotZero(IEnumerable<(ulong Start, ulong Length)> ranges)
    {
        List<(ulong Start, ulong Length)> kept = [];
        foreach ((ulong start, ulong length) in ranges)
            for (ulong page = start; page < start + length; page += PageSize)
            {
                if (!new ReadOnlySpan<byte>(_backing.Base + page, (int)PageSize).ContainsAnyExcept((byte)0))
                    continue;
                if (kept is [.., { } last] && last.Start + last.Length == page)
                    kept[^1] = last with { Length = last.Length + PageSize };
                else
                    kept.Add((page, PageSize));
            }
        return kept;
    }

    private void CopyTo(MemoryTemplate template, IEnumerable<(ulong Start, ulong Length)> ranges)
    {
        const ulong most = 64 << 20;
        foreach ((ulong start, ulong length) in ranges)
            for (ulong done = 0; done < length; done += most)
                template.Write(start + done, new ReadOnlySpan<byte>(_backing.Base + start + done, (int)Math.Min(most, length - done)));
    }

    public void Dispose()
    {
        _regions = [];
        _backing.Dispose();
        _template?.Dispose();
        _marks.Dispose();
        Code.Dispose();
    }

    private byte* WordOf(ulong pageOffset, out int shift)
    {
        ulong page = pageOffset >> PageShift;
        shift = (int)(page & 3) * 8;
        return _marks.Base + (page & ~3ul);
    }

    private static MemoryRegion[] Checked(IReadOnlyList<MemoryRegion> regions)
    {
        MemoryRegion[] sorted = [.. regions.OrderBy(r => r.Start.Value)];
        for (int i = 0; i < sorted.Length; i++)
        {
            MemoryRegion r = sorted[i];
            if (r.Length == 0 || ((r.Start.Value | r.Length | r.Offset) & (PageSize - 1)) != 0)
                throw new ArgumentException($"region at {r.Start} is empty or not page aligned", nameof(regions));
            if (i > 0 && sorted[i - 1].End > r.Start.Value)
                throw new ArgumentException($"region at {r.Start} overlaps the one before", nameof(regions));
        }
        return sorted;
    }
}
