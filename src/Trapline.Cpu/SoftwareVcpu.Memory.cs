using Trapline.Core;
using Trapline.Cpu.Interpreter;
using Trapline.Cpu.Mmu;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Cpu;

/// <summary>The slow path of memory: segment checks, page crossings, faults, MMIO, breakpoints, code pages.</summary>
public sealed unsafe partial class SoftwareVcpu
{
    /// <summary>Segment checks (SDM Vol. 3, 5.3 and 5.4), then base plus offset. False: #GP or #SS pending.</summary>
    internal bool SegmentLinear(int segment, ulong offset, int size, bool write, out ulong linear)
    {
        CpuState* s = State;
        if (s->Is64 != 0)
        {
            linear = s->AddressBase[segment] + offset;
            return true;
        }
        SegmentRegister* register = &s->Es + segment;
        linear = (uint)(register->Base + offset);
        if ((register->FastRights & (write ? 2 : 1)) != 0 && offset + (ulong)size - 1 <= register->Limit)
            return true;
        return SegmentSlow(register, offset, size, write) || SegmentFault(segment);
    }

    /// <summary>#SS(0) for the stack segment, #GP(0) for the others; always false.</summary>
    internal bool SegmentFault(int segment)
    {
        FaultCode(segment == SegmentIndex.Ss ? Vector.StackFault : Vector.GeneralProtection, 0);
        return false;
    }

    private static bool SegmentSlow(SegmentRegister* register, ulong offset, int size, bool write)
    {
        uint attributes = register->Attributes;
        if ((attributes & SegmentAttributes.Unusable) != 0 || (attributes & SegmentAttributes.Present) == 0)
            return false;
        bool code = (attributes & SegmentAttributes.Code) != 0;
        bool allowed = write ? !code && (attributes & SegmentAttributes.Writable) != 0 : !code || (attributes & SegmentAttributes.Writable) != 0;
        if (!allowed)
            return false;
        ulong last = offset + (ulong)size - 1;
        if (!code && (attributes & SegmentAttributes.ExpandDown) != 0)
        {
            ulong top = (attributes & SegmentAttributes.Big) != 0 ? 0xFFFF_FFFF : 0xFFFF;
            return offset > register->Limit && last <= top;
        }
        return last <= register->Limit;
    }

    internal bool LoadSlow(ulong linear, int size, int segment, out ulong value)
    {
        ulong loaded = 0;
        bool ok = TransferSlow(linear, (byte*)&loaded, size, segment, store: false);
        value = loaded;
        return ok;
    }

    internal bool StoreSlow(ulong linear, int size, int segment, ulong value) =>
        TransferSlow(linear, (byte*)&value, size, segment, store: true);

    /// <summary>A load that will be followed by a store to the same place: faults as a write would. Fills the write TLB where it can.</summary>
    internal bool LoadForUpdate(ulong linear, int size, int segment, out ulong value)
    {
        ulong loaded = 0;
        bool ok = Transfer(linear, (byte*)&loaded, size, segment, UserBit | Access.Write, store: false);
        value = loaded;
        return ok;
    }

    /// <summary>Where a word of RAM is that may be written at the current privilege, as was checked; null for MMIO, ROM and a word in two pages.</summary>
    internal byte* UpdatePointer(ulong linear, int size, out ulong gpa)
    {
        gpa = 0;
        return (linear & 0xFFF) + (ulong)size <= 4096 && Mmu.Translate(linear, UserBit | Access.Write, out gpa, out _)
            && _memory.TryGetPage(gpa, out ulong offset, out MemoryKind kind) && kind == MemoryKind.Ram
            ? _memory.BackingBase + offset + (gpa & 0xFFF) : null;
    }

    /// <summary>After a store through <see cref="UpdatePointer"/>.</summary>
    internal void NoteUpdate(ulong gpa, int size)
    {
        if (_memory.TryGetPage(gpa, out ulong offset, out _))
            _memory.NoteWrite(gpa, offset, (ulong)size);
    }

    /// <summary>Moves 1 to 64 bytes between <paramref name="buffer"/> and linear memory at the current privilege.</summary>
    internal bool TransferSlow(ulong linear, byte* buffer, int size, int segment, bool store) =>
        Transfer(linear, buffer, size, segment, UserBit | (store ? Access.Write : Access.Read), store);

    /// <summary>Checks that all of a range can be accessed, page by page, without touching it: for multi-part stores.</summary>
    internal bool Probe(ulong linear, int size, int segment, bool write)
    {
        Access access = UserBit | (write ? Access.Write : Access.Read);
        if (!Canonical(linear, size) && State->Is64 != 0)
            return SegmentFault(segment);
        ulong last = Wrap(linear + (ulong)size - 1);
        for (ulong page = linear; ; page = Wrap((page | 0xFFF) + 1))
        {
            if (!TranslateOrFault(page, access, out _))
                return false;
            if (page >> 12 == last >> 12)
                return true;
        }
    }

    /// <summary>Reads descriptor tables and task-state segments: supervisor rights whatever the ring (SDM Vol. 3, 4.6).</summary>
    internal bool LoadSystem(ulong linear, int size, out ulong value)
    {
        ulong loaded = 0;
        bool ok = Transfer(linear, (byte*)&loaded, size, SegmentIndex.Ds, Access.Implicit, store: false);
        value = loaded;
        return ok;
    }

    internal bool StoreSystem(ulong linear, int size, ulong value) =>
        Transfer(linear, (byte*)&value, size, SegmentIndex.Ds, Access.Implicit | Access.Write, store: true);

    /// <summary>Stores at an explicit privilege: stack frames of an inner ring are pushed before CPL changes.</summary>
    internal bool TransferAs(ulong linear, byte* buffer, int size, int segment, int cpl, bool store) =>
        Transfer(linear, buffer, size, segment, (cpl == 3 ? Access.User : 0) | (store ? Access.Write : 0), store);

    private Access UserBit => State->Cpl == 3 ? Access.User : 0;

    private bool Canonical(ulong linear, int size)
    {
        int unused = 64 - _model.LinearAddressBits;
        ulong last = linear + (ulong)size - 1;
        return (ulong)((long)(linear << unused) >> unused) == linear && (ulong)((long)(last << unused) >> unused) == last;
    }

    /// <summary>Linear addresses are 32 bits wide outside 64-bit mode.</summary>
    private ulong Wrap(ulong linear) => State->Is64 != 0 ? linear : (uint)linear;

    private bool TranslateOrFault(ulong linear, Access access, out ulong gpa)
    {
        if (Mmu.Translate(linear, access, out gpa, out uint errorCode))
            return true;
        PageFault(linear, errorCode);
        return false;
    }

    private bool Transfer(ulong linear, byte* buffer, int size, int segment, Access access, bool store)
    {
        CpuState* s = State;
        byte* fast = Mmu.Fast(linear, size, access);
        if (fast != null)
        {
            if (store)
                Copy(fast, buffer, size);
            else
                Copy(buffer, fast, size);
            return true;
        }
        bool system = (access & Access.Implicit) != 0;
        if ((s->Efer & Efer.Lma) != 0 && !Canonical(linear, size))
        {
            if (system)
                return FaultCode(Vector.GeneralProtection, 0) == 0;
            return SegmentFault(segment);
        }
        if (_alignmentCheck && !system && (access & Access.User) != 0 && size <= 8 && (linear & (uint)(size - 1)) != 0)
            return FaultCode(Vector.AlignmentCheck, 0) == 0;
        int first = Math.Min(size, 4096 - (int)(linear & 0xFFF));
        if (!TranslateOrFault(linear, access, out ulong gpa))
            return false;
        ulong secondGpa = 0, secondLinear = 0;
        if (first < size)
        {
            secondLinear = system ? Linear(linear + (ulong)first) : Wrap(linear + (ulong)first);
            if (!TranslateOrFault(secondLinear, access, out secondGpa))
                return false;
        }
        if (_dataBreakpoints && !system)
            MatchDataBreakpoints(linear, size, (access & Access.Write) != 0);
        TransferPhysical(linear, gpa, buffer, first, access, store);
        if (first < size)
            TransferPhysical(secondLinear, secondGpa, buffer + first, size - first, access, store);
        return true;
    }

    private void TransferPhysical(ulong linear, ulong gpa, byte* buffer, int size, Access access, bool store)
    {
        if (!_memory.TryGetPage(gpa, out ulong offset, out MemoryKind kind) || (store && kind == MemoryKind.Rom))
        {
            TransferMmio(gpa, buffer, size, store);
            return;
        }
        byte* page = _memory.BackingBase + offset;
        byte* p = page + (gpa & 0xFFF);
        bool write = (access & Access.Write) != 0;
        if (write)
            _memory.Code.NoteStorer(_sharer, offset);
        bool code = (_memory.Marks[offset >> 12] & (byte)PageMarks.Code) != 0;
        // Only ordinary accesses at the current privilege may enter the context's arrays.
        if ((access & Access.Implicit) == 0 && ((access & Access.User) != 0) == (State->Cpl == 3))
        {
            if (!write)
                Mmu.FillSoft(linear, write: false, page);
            else if (!code && kind == MemoryKind.Ram)
            {
                _memory.NoteWrite(gpa, offset, (ulong)size);
                Mmu.FillSoft(linear, write: true, page);
            }
        }
        if (!store)
        {
            if (access == Access.Implicit)
                Mmu.FillImplicit(linear, page);
            Copy(buffer, p, size);
            return;
        }
        Copy(p, buffer, size);
        _memory.NoteWrite(gpa, offset, (ulong)size);
    }

    /// <summary>Copies in one access where the size has one, so that other vCPUs never see half a word.</summary>
    private static void Copy(byte* to, byte* from, int size)
    {
        switch (size)
        {
            case 1: *to = *from; break;
            case 2: *(ushort*)to = *(ushort*)from; break;
            case 4: *(uint*)to = *(uint*)from; break;
            case 8: *(ulong*)to = *(ulong*)from; break;
            default: Buffer.MemoryCopy(from, to, size, size); break;
        }
    }

    private void TransferMmio(ulong gpa, byte* buffer, int size, bool store)
    {
        while (size > 0)
        {
            int part = size >= 8 && (gpa & 7) == 0 ? 8 : size >= 4 && (gpa & 3) == 0 ? 4 : size >= 2 && (gpa & 1) == 0 ? 2 : 1;
            if (size is 2 or 4 or 8)
                part = size; // an unaligned register access reaches the device as one
            ulong value = 0;
            if (store)
            {
                Copy((byte*)&value, buffer, part);
                _io.MmioWrite(Index, new Gpa(gpa), part, value);
            }
            else
            {
                value = _io.MmioRead(Index, new Gpa(gpa), part);
                Copy(buffer, (byte*)&value, part);
            }
            gpa += (ulong)part;
            buffer += part;
            size -= part;
        }
    }

    /// <summary>Data breakpoints trap after the instruction (SDM Vol. 3, 17.2.4 and 17.3.1.2).</summary>
    private void MatchDataBreakpoints(ulong linear, int size, bool write)
    {
        CpuState* s = State;
        for (int i = 0; i < 4; i++)
        {
            uint control = (uint)(s->Dr[7] >> (16 + i * 4)) & 0xF;
            if ((s->Dr[7] & (3ul << (i * 2))) == 0)
                continue;
            bool matches = (control & 3) == 3 || ((control & 3) == 1 && write);
            ulong length = (control >> 2) switch { 0 => 1ul, 1 => 2ul, 2 => 8ul, _ => 4ul };
            ulong start = s->Dr[i] & ~(length - 1);
            if (matches && linear < start + length && start < linear + (ulong)size)
            {
                s->PendingDebug |= 1ul << i;
                RequestStep();
            }
        }
    }
}
