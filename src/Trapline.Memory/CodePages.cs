using Trapline.Host;

namespace Trapline.Memory;

/// <summary>An engine that keeps code taken from guest memory, and may store to pages in a way of its own of which memory hears nothing.</summary>
public interface ICodeSharer
{
    /// <summary>Asks it to store to this page (a backing offset) by <see cref="GuestMemory"/>'s rules from now on. Called from any thread; returns at once.</summary>
    void RevokeStores(ulong page);

    /// <summary>It has done all that it was asked to, or runs no guest code now and will do so before it runs any.</summary>
    bool HasRevoked { get; }

    /// <summary>Does what it was asked to. On its own thread.</summary>
    void ServeRevocations();
}

/// <summary>
/// Who keeps code of which page, and who may store to which page unheard: so that code taken from a page by one vCPU is never stale through a store
/// by another.
/// </summary>
/// <remarks>
/// Both sides announce themselves first and look at the other after: a vCPU that takes code enters itself as holder before it looks for storers and
/// before it reads a byte; one that opens a fast way of storing enters itself as storer before it looks for code. A storer stays entered for good, since
/// engines keep ways to reopen a page of which this knows nothing: a page pays that only when code is taken from it anew.
/// Unsafe because the entries are bits of native words, one for each page of the backing store and sharer.
/// </remarks>
public sealed unsafe class CodePages : IDisposable
{
    /// <summary>Most engines at one memory.</summary>
    public const int MostSharers = 64;

    private const int GroupShift = 9;

    private readonly GuestMemory _memory;
    private readonly HostMapping _entries;
    private readonly ulong* _holders, _storers;
    private bool _alone;

    /// <summary>Groups of pages that any sharer was ever entered for, so that nobody reads the entries of much memory that was never used.</summary>
    private readonly bool[] _touched;
    private readonly ICodeSharer?[] _sharers = new ICodeSharer?[MostSharers];
    private readonly Lock _changing = new();

    internal CodePages(GuestMemory memory)
    {
        _memory = memory;
        ulong words = memory.BackingLength >> GuestMemory.PageShift, bytes = words * 2 * sizeof(ulong);
        _entries = HostMapping.CreatePrivate((bytes + GuestMemory.PageSize - 1) & ~(GuestMemory.PageSize - 1));
        _holders = (ulong*)_entries.Base;
        _storers = _holders + words;
        _touched = new bool[(words >> GroupShift) + 1];
    }

    /// <summary>
    /// There is one vCPU: the page's mark says all, and what that vCPU may store to is its own business. A successor, after a change of engine, finds marks
    /// of pages that it holds nothing of: they go when the page is written.
    /// </summary>
    public void ExpectOne() => _alone = true;

    /// <returns>The number by which the sharer is called here.</returns>
    /// <exception cref="InvalidOperationException">There are <see cref="MostSharers"/> already.</exception>
    public int Join(ICodeSharer sharer)
    {
        lock (_changing)
        {
            int number = Array.IndexOf(_sharers, null);
            if (number < 0)
                throw new InvalidOperationException("too many engines share one memory");
            _sharers[number] = sharer;
            return number;
        }
    }

    /// <summary>Its code and its ways of storing are gone.</summary>
    public void Leave(int number)
    {
        lock (_changing)
        {
            _sharers[number] = null;
            if (_alone)
                return;
            ulong bit = 1ul << number;
            for (int group = 0; group < _touched.Length; group++)
            {
                if (Volatile.Read(ref _touched[group]))
                    RemoveFromGroup((ulong)group << GroupShift, bit);
            }
        }
    }

    private void RemoveFromGroup(ulong first, ulong bit)
    {
        ulong end = Math.Min(first + (1ul << GroupShift), _memory.BackingLength >> GuestMemory.PageShift);
        for (ulong index = first; index < end; index++)
        {
            if ((_storers[index] & bit) != 0)
                Interlocked.And(ref _storers[index], ~bit);
            if ((_holders[index] & bit) != 0)
                RemoveHolder(index, bit);
        }
    }

    /// <summary>Call before looking whether a page is marked as code and opening a fast way of storing to it.</summary>
    public void NoteStorer(int number, ulong page)
    {
        if (_alone)
            return;
        ref ulong storers = ref _storers[page >> GuestMemory.PageShift];
        if ((Volatile.Read(ref storers) & 1ul << number) != 0)
            return;
        _touched[page >> GuestMemory.PageShift >> GroupShift] = true;
        Interlocked.Or(ref storers, 1ul << number);
    }

    /// <summary>The sharer keeps code of this page.</summary>
    public bool Holds(int number, ulong page) => _alone
        ? (_memory.Marks[page >> GuestMemory.PageShift] & (byte)PageMarks.Code) != 0
        : (Volatile.Read(ref _holders[page >> GuestMemory.PageShift]) & 1ul << number) != 0;

    /// <summary>Call before reading code from a page: on return every store to it by another is announced to <see cref="IMemoryObserver.CodeWritten"/>.</summary>
    /// <remarks>The caller's own fast ways of storing are its own business.</remarks>
    public void Take(int number, ulong page)
    {
        if (_alone)
        {
            _memory.SetMark(page, PageMarks.Code);
            return;
        }
        ulong index = page >> GuestMemory.PageShift, bit = 1ul << number;
        lock (_changing)
        {
            _touched[index >> GroupShift] = true;
            Interlocked.Or(ref _holders[index], bit);
            _memory.SetMark(page, PageMarks.Code);
        }
        ulong others = Volatile.Read(ref _storers[index]) & ~bit;
        if (others != 0)
            Revoke(number, page, others);
    }

    /// <summary>The sharer keeps no code of this page any more.</summary>
    public void Release(int number, ulong page)
    {
        if (_alone)
        {
            _memory.ClearMark(page, PageMarks.Code);
            return;
        }
        lock (_changing)
            RemoveHolder(page >> GuestMemory.PageShift, 1ul << number);
    }

    private void RemoveHolder(ulong index, ulong bit)
    {
        _holders[index] &= ~bit;
        if (_holders[index] == 0)
            _memory.ClearMark(index << GuestMemory.PageShift, PageMarks.Code);
    }

    private void Revoke(int number, ulong page, ulong others)
    {
        for (int other = 0; other < MostSharers; other++)
        {
            if ((others & 1ul << other) != 0)
                Volatile.Read(ref _sharers[other])?.RevokeStores(page);
        }
        // Others may wait for this one in turn.
        SpinWait patience = default;
        for (int other = 0; other < MostSharers; other++)
        {
            while ((others & 1ul << other) != 0 && Volatile.Read(ref _sharers[other]) is { HasRevoked: false })
            {
                Volatile.Read(ref _sharers[number])?.ServeRevocations();
                patience.SpinOnce(sleep1Threshold: -1);
            }
        }
    }

    public void Dispose() => _entries.Dispose();
}
