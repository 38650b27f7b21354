using Trapline.Cpu.Translator.Runtime;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Cpu.Mmu;

/// <summary>One vCPU's memory management unit: soft TLB, tagged TLB, page walker, and the rules that keep them coherent.</summary>
public sealed unsafe class VcpuMmu : IDisposable
{
    private readonly CpuState* _state;
    private readonly GuestMemory _memory;
    private readonly SoftTlb _soft;
    private readonly TranslationFrame* _frame;
    private readonly TaggedTlb _tagged = new();

    /// <summary>An address will be translated soon that the soft TLB knows nothing of.</summary>
    public void Prefetch(ulong linear) => _tagged.Prefetch(linear);

    /// <param name="softTlb">Memory for the soft TLB's arrays, <see cref="SoftTlb.Bytes"/> long.</param>
    /// <param name="frame">Its stack window is one more fast entry, which every flush empties.</param>
    public VcpuMmu(CpuState* state, GuestMemory memory, CpuModel model, ulong* softTlb, TranslationFrame* frame)
    {
        _soft = new SoftTlb(softTlb);
        _frame = frame;
        _state = state;
        _memory = memory;
        Walker = new PageWalker(state, memory, model);
    }

    public PageWalker Walker { get; }
    public long SecondLevelHits { get; private set; }
    public long PageWalks { get; private set; }

    private uint Pcid => (_state->Cr4 & Cr4.Pcide) != 0 ? (uint)(_state->Cr3 & 0xFFF) : 0;

    /// <summary>Translates one address of a mapped or unmapped page. Canonical form is the caller's business.</summary>
    /// <param name="errorCode">#PF error code when false.</param>
    public bool Translate(ulong linear, Access access, out ulong gpa, out uint errorCode)
    {
        if ((_state->Cr0 & Cr0.Pg) == 0)
        {
            gpa = linear;
            errorCode = 0;
            return true;
        }
        uint pcid = Pcid;
        TlbEntry* cached = _tagged.Find(linear, pcid, out int shift);
        if (cached != null)
        {
            bool needsDirty = (access & Access.Write) != 0 && (cached->Rights & TlbRights.Dirty) == 0;
            if (!needsDirty && Walker.Denied(*cached, access) == 0)
            {
                SecondLevelHits++;
                gpa = cached->Frame | (linear & ((1ul << shift) - 1));
                errorCode = 0;
                return true;
            }
            // A fault invalidates the translation that caused it (SDM Vol. 3, 4.10.4.1): the tables decide again.
            _tagged.FlushPage(linear, pcid, global: true);
        }
        PageWalks++;
        if (!Walker.Walk(linear, access, out TlbEntry entry, out shift, out errorCode))
        {
            // A fault leaves no translation behind, in any level.
            _soft.FlushPage(linear);
            Spaces?.FlushPage(linear, SpaceTag(linear, Pcid));
            gpa = 0;
            TraceWalk(linear, null);
            return false;
        }
        _tagged.Insert(linear, pcid, shift, entry, out bool evictedLarge);
        if (evictedLarge)
        {
            RightsChanged();
            Listener?.AllFlushed();
        }
        gpa = entry.Frame | (linear & ((1ul << shift) - 1));
        TraceWalk(linear, gpa);
        return true;
    }

    /// <summary>Who wants to see page walks; null costs nothing.</summary>
    public Action<ulong, ulong?>? WalkTrace { get; set; }

    private void TraceWalk(ulong linear, ulong? gpa) => WalkTrace?.Invoke(linear, gpa);

    /// <summary>Lets later accesses to this page of RAM take the fast path, in the current context.</summary>
    public void FillSoft(ulong linear, bool write, byte* hostPage)
    {
        ulong page = linear & ~0xFFFul;
        if (write && OpenedForWriting != null)
        {
            _opened.Add(page);
            OpenedForWriting((nint)hostPage);
        }
        Fill(_context, write, page, hostPage);
        if (Spaces != null && _context != SoftTlb.Bypass)
            FillSpace(linear, write, (ulong)hostPage - page);
    }

    private void Fill(int context, bool write, ulong page, byte* hostPage)
    {
        _soft.Fill(context, write, page, (ulong)hostPage - page);
        _beyond |= page >> 32 != 0 ? 1u << context : 0;
    }

    /// <summary>Where a fast entry says that an access may be done; null if none does. Makes exceptions and returns from them need no look-up.</summary>
    public byte* Fast(ulong linear, int size, Access access)
    {
        int context = ContextOf(access);
        if (context == SoftTlb.Bypass)
            return null;
        ulong page = linear & ~0xFFFul, slot = page >> 12 & SoftTlb.IndexMask;
        ulong* array = (access & Access.Write) != 0 ? _soft.Writes(context) : _soft.Reads(context);
        return array[slot] == page && (linear & 0xFFF) + (ulong)size <= 4096 ? (byte*)(linear + array[slot + SoftTlb.Entries]) : null;
    }

    /// <summary>The processor has read a page of RAM for itself, in whatever ring: it may do so again without a look-up.</summary>
    public void FillImplicit(ulong linear, byte* hostPage) => Fill(ContextOf(Access.Implicit), write: false, linear & ~0xFFFul, hostPage);

    /// <summary>The context whose entries are allowed to the access: ring 3's own, the current one in ring 0; for the processor's accesses one that SMAP is in force in.</summary>
    private int ContextOf(Access access)
    {
        if (_context == SoftTlb.Bypass || ((access & Access.User) != 0 && _context != SoftTlb.User))
            return SoftTlb.Bypass;
        if ((access & Access.User) != 0 || ((access & Access.Implicit) == 0 && _context != SoftTlb.User))
            return _context;
        return (_state->Cr4 & Cr4.Smap) != 0 ? SoftTlb.Supervisor : SoftTlb.SupervisorAc;
    }

    /// <summary>Entries for each address space, which a translator looks up when it misses; null without one.</summary>
    public SpaceTlb? Spaces { get; set; }

    /// <summary>There were global pages in the lower half of the address space.</summary>
    private bool _globalsBelow;

    private void FillSpace(ulong linear, bool write, ulong addend)
    {
        EnterSpace();
        bool above = linear >> 63 != 0, global = HasGlobalPages && (above || !_globalsBelow) && IsGlobal(linear);
        if (above && HasGlobalPages && !global)
            return;
        _globalsBelow |= global && !above;
        Spaces!.Fill((uint)(above ? _frame->SpaceAbove : _frame->Space), write, linear & ~0xFFFul, addend);
    }

    /// <summary>The tag under which an address is kept for all spaces or one.</summary>
    private ulong SpaceTag(ulong linear, uint pcid) => linear >> 63 != 0 && HasGlobalPages ? SpaceTlb.GlobalTag : _tagged.TagOf(pcid);

    /// <summary>The frame names the current space.</summary>
    public void EnterSpace()
    {
        if (_frame->Space != 0 || Spaces == null)
            return;
        int kind = _context * 2 + (_state->Is64 != 0 ? 0 : 1);
        _soft.MayFill(_context);
        (_frame->Space, _frame->SpaceAbove) = Spaces.NumbersOf(kind, Tag, HasGlobalPages ? SpaceTlb.GlobalTag : Tag);
    }

    /// <summary>Every space's entries are gone.</summary>
    private void ForgetSpaces()
    {
        Spaces?.Forget();
        _frame->Space = 0;
    }

    /// <summary>Contexts whose fast entries may be of pages beyond 4 GiB.</summary>
    private uint _beyond;

    /// <summary>
    /// 32-bit code begins in the current context: no page beyond 4 GiB may be in its arrays, so that translated code need not make its sums wrap around.
    /// Costs nothing where 32-bit and 64-bit code do not alternate in one ring.
    /// </summary>
    public void Keep4GiB()
    {
        if ((_beyond & 1u << _context) == 0)
            return;
        FlushSoft();
        CloseWindow();
    }

    private void FlushSoft()
    {
        _soft.Flush();
        _frame->Space = 0;
        _beyond = 0;
    }

    /// <summary>Hears of each page, by host address, before stores to it take the fast path; null costs nothing.</summary>
    public Action<nint>? OpenedForWriting { get; set; }

    private readonly List<ulong> _opened = [];

    /// <summary>The next store to any page is heard by <see cref="OpenedForWriting"/> again.</summary>
    public void CloseWrites()
    {
        foreach (ulong page in _opened)
            _soft.FlushPage(page);
        _opened.Clear();
        CloseWindow();
        ForgetSpaces();
    }

    private int _context = SoftTlb.Bypass;

    /// <summary>The soft TLB's current context.</summary>
    public int Context => _context;

    /// <summary>The tagged TLB's tag of the current address space.</summary>
    public ulong Tag => _tagged.TagOf(Pcid);

    /// <summary>Hears of changes that matter to jumps between code pages.</summary>
    public ITranslationListener? Listener { get; set; }

    /// <summary>True if a cached translation of this address is global.</summary>
    public bool IsGlobal(ulong linear)
    {
        TlbEntry* entry = _tagged.Find(linear, Pcid, out _);
        return entry != null && (entry->Rights & TlbRights.Global) != 0;
    }

    /// <summary>Some translations hold in all address spaces (SDM Vol. 3, 4.10.2.4). A change of this flushes everything.</summary>
    public bool HasGlobalPages => (_state->Cr0 & Cr0.Pg) != 0 && (_state->Cr4 & Cr4.Pge) != 0;

    private void CloseWindow() => _frame->CloseWindow();

    /// <summary>True if a store to this address would change nothing in the tables: it may be prepared for without one.</summary>
    public bool IsDirty(ulong linear, Access access)
    {
        if ((_state->Cr0 & Cr0.Pg) == 0)
            return true;
        TlbEntry* entry = _tagged.Find(linear, Pcid, out _);
        return entry != null && (entry->Rights & TlbRights.Dirty) != 0 && Walker.Denied(*entry, access | Access.Write) == 0;
    }

    /// <summary>Points the state at the arrays of the current privilege. Call after CPL, AC, CR4.SMAP, debug or alignment-check changes.</summary>
    public void SelectContext(bool bypass)
    {
        bool smap = (_state->Cr4 & Cr4.Smap) != 0 && (_state->RFlags & Rflags.Ac) == 0;
        int before = _context;
        _frame->Space = 0;
        _context = bypass ? SoftTlb.Bypass : _state->Cpl == 3 ? SoftTlb.User : smap ? SoftTlb.Supervisor : SoftTlb.SupervisorAc;
        if (_context != before)
        {
            CloseWindow();
            Listener?.SpaceChanged();
        }
        _state->ReadTlb = _soft.Reads(_context);
        _state->WriteTlb = _soft.Writes(_context);
    }

    /// <summary>Rights are judged differently from now on (CR0.WP, PKRU, SMAP…): translations stay, fast entries go.</summary>
    public void RightsChanged()
    {
        ForgetSpaces();
        SpaceChanged();
    }

    /// <summary>The fast entries are another address space's; those that are kept by space stay.</summary>
    private void SpaceChanged()
    {
        FlushSoft();
        CloseWindow();
        _state->CodeEpoch++;
    }

    public void FlushAll()
    {
        _tagged.FlushAll();
        RightsChanged();
        Listener?.AllFlushed();
    }

    public void FlushNonGlobal()
    {
        _tagged.FlushNonGlobal();
        SpaceChanged();
        Listener?.SpaceChanged();
    }

    public void FlushPcid(uint pcid)
    {
        _tagged.FlushPcid(pcid);
        SpaceChanged();
        Listener?.SpaceChanged();
    }

    /// <summary>CR3 was loaded; <paramref name="keep"/> is its bit 63 with PCIDs on (SDM Vol. 3, 4.10.4.1).</summary>
    public void RootChanged(bool keep)
    {
        if (!keep)
            _tagged.FlushPcid(Pcid);
        SpaceChanged();
        Listener?.SpaceChanged();
    }

    /// <summary>INVLPG.</summary>
    public void FlushPage(ulong linear) => FlushPage(linear, Pcid, global: true);

    public void FlushPage(ulong linear, uint pcid, bool global)
    {
        bool large = _tagged.FlushPage(linear, pcid, global);
        if (large)
            FlushSoft();
        else
            _soft.FlushPage(linear);
        // A global page below may have been filled under any tag.
        if (large || (global && _globalsBelow && linear >> 63 == 0))
            ForgetSpaces();
        else
            Spaces?.FlushPage(linear, SpaceTag(linear, pcid));
        CloseWindow();
        _state->CodeEpoch++;
        if (large)
            Listener?.AllFlushed();
        else
            Listener?.PageFlushed(linear, _tagged.TagOf(pcid));
    }

    /// <summary>Code was taken from this host page: stores to it must take the slow path from now on.</summary>
    public void WatchWrites(ulong pageOffset)
    {
        _soft.FlushWritesTo((ulong)(_memory.BackingBase + pageOffset));
        CloseWindow();
    }

    public void Dispose()
    {
        _soft.Dispose();
        _tagged.Dispose();
    }
}
