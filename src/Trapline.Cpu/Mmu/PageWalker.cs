using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Cpu.Mmu;

/// <summary>
/// Walks the guest's page tables: 32-bit, PAE and 4-level paging (SDM Vol. 3, 4.3 to 4.5), sets accessed and dirty bits atomically, and gives exact
/// #PF error codes (4.7).
/// </summary>
/// <remarks>Unsafe because entries are read and updated in place, in host memory; <see cref="GuestMemory"/> gives whole pages only.</remarks>
public sealed unsafe class PageWalker(CpuState* state, GuestMemory memory, CpuModel model)
{
    private const ulong PresentBit = 1;
    private const ulong WritableBit = 1 << 1;
    private const ulong UserBit = 1 << 2;
    private const ulong AccessedBit = 1 << 5;
    private const ulong DirtyBit = 1 << 6;
    private const ulong LargeBit = 1 << 7;
    private const ulong GlobalBit = 1 << 8;
    private const ulong NoExecuteBit = 1ul << 63;

    private readonly ulong _addressMask = (1ul << model.PhysicalAddressBits) - 1 & ~0xFFFul;

    /// <summary>Finds the translation and the combined rights. Rights are checked here too, because D is set only by a permitted write.</summary>
    /// <param name="errorCode">The #PF error code when false.</param>
    public bool Walk(ulong linear, Access access, out TlbEntry entry, out int shift, out uint errorCode)
    {
        bool found;
        do
        {
            entry = default;
            _changed = false;
            found = (state->Cr4 & Cr4.Pae) == 0
                ? Walk32(linear, access, ref entry, out shift, out errorCode)
                : WalkPae(linear, access, ref entry, out shift, out errorCode);
        }
        while (_changed);
        return found;
    }

    /// <summary>The rights check of SDM Vol. 3, 4.6, for a translation's combined rights. Returns the error code's cause bits; 0 is permitted.</summary>
    public uint Denied(in TlbEntry entry, Access access)
    {
        bool userPage = (entry.Rights & TlbRights.User) != 0;
        bool write = (access & Access.Write) != 0;
        bool denied;
        if ((access & Access.User) != 0)
        {
            denied = !userPage
                || (write && (entry.Rights & TlbRights.Writable) == 0)
                || ((access & Access.Fetch) != 0 && (entry.Rights & TlbRights.NoExecute) != 0);
        }
        else if ((access & Access.Fetch) != 0)
        {
            denied = (entry.Rights & TlbRights.NoExecute) != 0 || (userPage && (state->Cr4 & Cr4.Smep) != 0);
        }
        else
        {
            bool smap = userPage && (state->Cr4 & Cr4.Smap) != 0
                && ((access & Access.Implicit) != 0 || (state->RFlags & Rflags.Ac) == 0 || state->Cpl == 3);
            denied = smap || (write && (entry.Rights & TlbRights.Writable) == 0 && (state->Cr0 & Cr0.Wp) != 0);
        }
        uint cause = denied ? PageFaultCode.Present : 0;
        // Protection keys guard data accesses to user pages (SDM Vol. 3, 4.6.2); the PK bit is set even if something else forbids the access too (4.7).
        if (userPage && (access & Access.Fetch) == 0 && (state->Cr4 & Cr4.Pke) != 0 && (state->Efer & Efer.Lma) != 0)
        {
            uint key = state->Pkru >> (entry.ProtectionKey * 2);
            bool accessDisabled = (key & 1) != 0;
            bool writeDisabled = (key & 2) != 0 && write && ((access & Access.User) != 0 || (state->Cr0 & Cr0.Wp) != 0);
            if (accessDisabled || writeDisabled)
                cause = PageFaultCode.Present | PageFaultCode.ProtectionKey;
        }
        return cause;
    }

    /// <summary>A #PF error code for an access that failed for <paramref name="cause"/>.</summary>
    public uint ErrorCode(Access access, uint cause)
    {
        uint code = cause | (uint)(access & (Access.Write | Access.User));
        bool reportsFetch = (state->Cr4 & Cr4.Smep) != 0 || ((state->Cr4 & Cr4.Pae) != 0 && (state->Efer & Efer.Nxe) != 0);
        if ((access & Access.Fetch) != 0 && reportsFetch)
            code |= PageFaultCode.Fetch;
        return code;
    }

    /// <summary>Reads the entries on the way of an address without setting any bit: for traces.</summary>
    public int Inspect(ulong linear, Span<WalkStep> steps)
    {
        bool pae = (state->Cr4 & Cr4.Pae) != 0;
        bool longMode = (state->Efer & Efer.Lma) != 0;
        int level = longMode ? 4 : pae ? 3 : 2;
        ulong table = longMode ? state->Cr3 & _addressMask : pae ? state->Cr3 & 0xFFFF_FFE0 : state->Cr3 & 0xFFFF_F000;
        int count = 0;
        while (level > 0 && count < steps.Length)
        {
            int bits = pae ? 9 : 10;
            int levelShift = 12 + (level - 1) * bits;
            ulong index = (linear >> levelShift) & ((1ul << bits) - 1);
            if (pae && !longMode && level == 3)
                index &= 3;
            ulong address = table + index * (pae ? 8ul : 4ul);
            ulong* p = PointerTo(address);
            ulong value = p == null ? ulong.MaxValue : pae ? *p : *(uint*)p;
            steps[count++] = new WalkStep(level, address, value);
            if ((value & PresentBit) == 0 || (level is 2 or 3 && (value & LargeBit) != 0 && (longMode || level == 2)))
                break;
            table = pae ? value & _addressMask : value & 0xFFFF_F000;
            level--;
        }
        return count;
    }

    private bool Walk32(ulong linear, Access access, ref TlbEntry entry, out int shift, out uint errorCode)
    {
        shift = 12;
        ulong pdeAddress = (state->Cr3 & 0xFFFF_F000) + ((linear >> 22) & 0x3FF) * 4;
        uint* pde = (uint*)PointerTo(pdeAddress);
        uint value = pde == null ? uint.MaxValue : *pde;
        if ((value & PresentBit) == 0)
        {
            errorCode = ErrorCode(access, 0);
            return false;
        }
        bool writable = (value & WritableBit) != 0, user = (value & UserBit) != 0;
        uint* leaf = pde;
        ulong leafAddress = pdeAddress;
        if ((value & LargeBit) != 0 && (state->Cr4 & Cr4.Pse) != 0)
        {
            // PSE-36: bits 13-20 are address bits 32-39; with 40 physical bits, bit 21 alone is reserved (SDM Vol. 3, table 4-4).
            if ((value & (1u << 21)) != 0)
            {
                errorCode = ErrorCode(access, PageFaultCode.Present | PageFaultCode.Reserved);
                return false;
            }
            shift = 22;
            entry.Frame = (value & 0xFFC0_0000) | ((ulong)(value >> 13 & 0xFF) << 32);
        }
        else
        {
            SetBits32(pde, pdeAddress, value, (uint)AccessedBit);
            leafAddress = (value & 0xFFFF_F000) + ((linear >> 12) & 0x3FF) * 4;
            leaf = (uint*)PointerTo(leafAddress);
            value = leaf == null ? uint.MaxValue : *leaf;
            if ((value & PresentBit) == 0)
            {
                errorCode = ErrorCode(access, 0);
                return false;
            }
            writable &= (value & WritableBit) != 0;
            user &= (value & UserBit) != 0;
            entry.Frame = value & 0xFFFF_F000;
        }
        entry.Rights = (writable ? TlbRights.Writable : 0) | (user ? TlbRights.User : 0)
            | ((value & GlobalBit) != 0 && (state->Cr4 & Cr4.Pge) != 0 ? TlbRights.Global : 0);
        uint cause = Denied(entry, access);
        if (cause != 0)
        {
            errorCode = ErrorCode(access, cause);
            return false;
        }
        uint set = (uint)AccessedBit | ((access & Access.Write) != 0 ? (uint)DirtyBit : 0);
        SetBits32(leaf, leafAddress, value, set);
        if (((value | set) & DirtyBit) != 0)
            entry.Rights |= TlbRights.Dirty;
        errorCode = 0;
        return true;
    }

    private bool WalkPae(ulong linear, Access access, ref TlbEntry entry, out int shift, out uint errorCode)
    {
        bool longMode = (state->Efer & Efer.Lma) != 0;
        bool nxe = (state->Efer & Efer.Nxe) != 0;
        ulong reserved = ~_addressMask & 0x000F_FFFF_FFFF_F000 | (nxe ? 0 : NoExecuteBit);
        int level;
        ulong table;
        if (longMode)
        {
            level = 4;
            table = state->Cr3 & _addressMask;
        }
        else
        {
            // Outside long mode bits 52-62 are reserved too, and the PDPTEs come from the registers (SDM Vol. 3, 4.4).
            reserved |= 0x7FF0_0000_0000_0000;
            ulong pdpte = state->Pdpte[(linear >> 30) & 3];
            if ((pdpte & PresentBit) == 0)
            {
                shift = 12;
                errorCode = ErrorCode(access, 0);
                return false;
            }
            level = 2;
            table = pdpte & _addressMask;
        }
        bool writable = true, user = true, noExecute = false;
        for (; ; level--)
        {
            shift = 12 + (level - 1) * 9;
            ulong address = table + ((linear >> shift) & 0x1FF) * 8;
            ulong* p = PointerTo(address);
            ulong value = p == null ? ulong.MaxValue : *p;
            if ((value & PresentBit) == 0)
            {
                errorCode = ErrorCode(access, 0);
                return false;
            }
            bool leaf = level == 1;
            ulong bad = value & reserved;
            if (level > 1 && (value & LargeBit) != 0)
            {
                leaf = level == 2 || (level == 3 && model.Has(Feature.Pdpe1Gb));
                bad |= leaf ? value & ((1ul << shift) - 1) & 0x000F_FFFF_FFFF_E000 : LargeBit; // bit 12 of a large page is PAT
            }
            if (bad != 0)
            {
                errorCode = ErrorCode(access, PageFaultCode.Present | PageFaultCode.Reserved);
                return false;
            }
            writable &= (value & WritableBit) != 0;
            user &= (value & UserBit) != 0;
            noExecute |= nxe && (value & NoExecuteBit) != 0;
            if (!leaf)
            {
                SetBits64(p, address, value, AccessedBit);
                table = value & _addressMask;
                continue;
            }
            entry.Frame = value & _addressMask & ~((1ul << shift) - 1);
            entry.ProtectionKey = longMode ? (byte)((value >> 59) & 0xF) : (byte)0;
            entry.Rights = (writable ? TlbRights.Writable : 0) | (user ? TlbRights.User : 0) | (noExecute ? TlbRights.NoExecute : 0)
                | ((value & GlobalBit) != 0 && (state->Cr4 & Cr4.Pge) != 0 ? TlbRights.Global : 0);
            uint cause = Denied(entry, access);
            if (cause != 0)
            {
                errorCode = ErrorCode(access, cause);
                return false;
            }
            ulong set = AccessedBit | ((access & Access.Write) != 0 ? DirtyBit : 0);
            SetBits64(p, address, value, set);
            if (((value | set) & DirtyBit) != 0)
                entry.Rights |= TlbRights.Dirty;
            errorCode = 0;
            return true;
        }
    }

    /// <summary>Loads the PDPTE registers from CR3 (SDM Vol. 3, 4.4.1). False: a reserved bit is set in a present one, #GP.</summary>
    public bool TryLoadPdptes(ulong cr3)
    {
        ulong* loaded = stackalloc ulong[4];
        ulong reserved = ~_addressMask & ~0xFFFul | 0x1E6;
        for (int i = 0; i < 4; i++)
        {
            ulong* p = PointerTo((cr3 & 0xFFFF_FFE0) + (ulong)i * 8);
            loaded[i] = p == null ? ulong.MaxValue : *p;
            if ((loaded[i] & PresentBit) != 0 && (loaded[i] & reserved) != 0)
                return false;
        }
        for (int i = 0; i < 4; i++)
            state->Pdpte[i] = loaded[i];
        return true;
    }

    /// <summary>Another processor changed an entry between reading it and setting a bit in it: what the walk found is void.</summary>
    private bool _changed;

    private ulong* PointerTo(ulong address) =>
        memory.TryGetPage(address, out ulong offset, out _) ? (ulong*)(memory.BackingBase + offset + (address & 0xFFF)) : null;

    private void SetBits64(ulong* p, ulong address, ulong seen, ulong bits)
    {
        if ((seen & bits) == bits || p == null)
            return;
        // Not a plain OR: an entry that a sibling has cleared meanwhile must stay as it is.
        _changed |= Interlocked.CompareExchange(ref *p, seen | bits, seen) != seen;
        Note(address);
    }

    private void SetBits32(uint* p, ulong address, uint seen, uint bits)
    {
        if ((seen & bits) == bits || p == null)
            return;
        _changed |= Interlocked.CompareExchange(ref *p, seen | bits, seen) != seen;
        Note(address);
    }

    /// <summary>How often an accessed or dirty bit was set.</summary>
    public ulong BitsSet { get; private set; }

    private void Note(ulong address)
    {
        BitsSet++;
        if (memory.TryGetPage(address, out ulong offset, out _))
            memory.NoteWrite(address, offset, 8);
    }
}
