using Trapline.Cpu.Interpreter;
using Trapline.Cpu.Mmu;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Cpu;

/// <summary>Types of system descriptors (SDM Vol. 3, table 3-2).</summary>
internal static class SystemType
{
    public const uint Tss16 = 1;
    public const uint Ldt = 2;
    public const uint Tss16Busy = 3;
    public const uint CallGate16 = 4;
    public const uint TaskGate = 5;
    public const uint InterruptGate16 = 6;
    public const uint TrapGate16 = 7;
    public const uint Tss32 = 9;
    public const uint Tss32Busy = 11;
    public const uint CallGate32 = 12;
    public const uint InterruptGate32 = 14;
    public const uint TrapGate32 = 15;
}

/// <summary>A descriptor as read from the GDT or an LDT.</summary>
internal struct Descriptor
{
    /// <summary>The eight bytes that every descriptor has.</summary>
    public ulong Raw;

    /// <summary>Bytes 8 to 15 of a system descriptor in long mode.</summary>
    public ulong Upper;

    /// <summary>Where it was read from.</summary>
    public ulong Address;

    public readonly uint Attributes => (uint)(Raw >> 40) & 0xF0FF;
    public readonly uint Type => (uint)(Raw >> 40) & 0xF;
    public readonly uint Dpl => (uint)(Raw >> 45) & 3;
    public readonly bool IsPresent => (Raw & (1ul << 47)) != 0;
    public readonly bool IsSystem => (Raw & (1ul << 44)) == 0;
    public readonly bool IsCode => (Raw & (1ul << 44 | 1ul << 43)) == (1ul << 44 | 1ul << 43);
    public readonly bool IsData => (Raw & (1ul << 44 | 1ul << 43)) == 1ul << 44;
    public readonly bool IsWritableData => IsData && (Raw & (1ul << 41)) != 0;
    public readonly bool IsReadable => IsData || (IsCode && (Raw & (1ul << 41)) != 0);
    public readonly bool IsConforming => (Raw & (1ul << 42)) != 0;
    public readonly bool IsLong => (Raw & (1ul << 53)) != 0;
    public readonly bool IsBig => (Raw & (1ul << 54)) != 0;

    public readonly ulong Base => ((Raw >> 16) & 0xFF_FFFF) | ((Raw >> 32) & 0xFF00_0000) | (Upper << 32);

    public readonly uint Limit
    {
        get
        {
            uint limit = (uint)(Raw & 0xFFFF) | ((uint)(Raw >> 32) & 0xF_0000);
            return (Raw & (1ul << 55)) != 0 ? (limit << 12) | 0xFFF : limit;
        }
    }

    /// <summary>A gate's code segment or TSS selector.</summary>
    public readonly ushort GateSelector => (ushort)(Raw >> 16);

    /// <summary>A gate's offset, 16, 32 or 64 bits of it as its kind has.</summary>
    public readonly ulong GateOffset => (Raw & 0xFFFF) | ((Raw >> 32) & 0xFFFF_0000) | (Upper << 32);

    public readonly SegmentRegister ToRegister(ushort selector)
    {
        SegmentRegister register = new() { Selector = selector, Base = Base, Limit = Limit, Attributes = Attributes };
        return register;
    }
}

/// <summary>Segment registers and descriptors in every mode (SDM Vol. 3, chapters 3 and 5).</summary>
public sealed unsafe partial class SoftwareVcpu
{
    private const uint NullMask = 0xFFFC;

    internal static bool IsNull(uint selector) => (selector & NullMask) == 0;

    /// <summary>A fault whose error code names a selector.</summary>
    internal int SelectorFault(byte vector, uint selector) => FaultCode(vector, selector & NullMask);

    internal SegmentRegister* Segment(int index) => &State->Es + index;

    /// <summary>Reads a descriptor by selector. False: a fault is pending, <paramref name="vector"/> if the selector is beyond its table.</summary>
    internal bool ReadDescriptor(uint selector, byte vector, out Descriptor descriptor)
    {
        descriptor = default;
        if (!DescriptorAddress(selector, 8, out ulong address))
            return SelectorFault(vector, selector) == 0;
        descriptor.Address = address;
        return LoadSystem(address, 8, out descriptor.Raw);
    }

    /// <summary>Reads the second half of a system descriptor, in long mode only.</summary>
    internal bool ReadUpper(uint selector, byte vector, ref Descriptor descriptor)
    {
        if (!LongMode)
            return true;
        if (!DescriptorAddress(selector, 16, out ulong address))
            return SelectorFault(vector, selector) == 0;
        if (!LoadSystem(address + 8, 8, out descriptor.Upper))
            return false;
        // The type field of the upper half must be zero (SDM Vol. 3, 5.8.3.1 and 7.2.3).
        return ((descriptor.Upper >> 40) & 0x1F) == 0 || SelectorFault(vector, selector) == 0;
    }

    /// <summary>Where a selector's descriptor lies. False: beyond the table's limit, or there is no LDT.</summary>
    internal bool DescriptorAddress(uint selector, uint size, out ulong address)
    {
        CpuState* s = State;
        uint offset = selector & 0xFFF8;
        if ((selector & 4) != 0)
        {
            address = Linear(s->Ldtr.Base + offset);
            return (s->Ldtr.Attributes & SegmentAttributes.Unusable) == 0 && offset + size - 1 <= s->Ldtr.Limit;
        }
        address = Linear(s->GdtrBase + offset);
        return offset + size - 1 <= s->GdtrLimit;
    }

    /// <summary>System-table addresses have 32 bits outside long mode.</summary>
    private ulong Linear(ulong address) => LongMode ? address : (uint)address;

    /// <summary>Sets bits in one byte of system memory as one atomic access: accessed and busy bits. False: a fault is pending.</summary>
    private bool OrSystemByte(ulong linear, byte bits, byte clear = 0)
    {
        if (!TranslateOrFault(linear, Access.Implicit | Access.Write, out ulong gpa))
            return false;
        if (!_memory.TryGetPage(gpa, out ulong offset, out MemoryKind kind) || kind == MemoryKind.Rom)
            return true; // what is not RAM does not remember
        byte* p = _memory.BackingBase + offset + (gpa & 0xFFF);
        byte seen = *p;
        for (; ; )
        {
            byte found = Interlocked.CompareExchange(ref *p, (byte)((seen | bits) & ~clear), seen);
            if (found == seen)
                break;
            seen = found;
        }
        _memory.NoteWrite(gpa, offset, 1);
        return true;
    }

    /// <summary>Sets the accessed bit in memory if it is not set yet. False: a fault is pending.</summary>
    internal bool MarkAccessed(ref Descriptor descriptor)
    {
        if ((descriptor.Raw & (1ul << 40)) != 0)
            return true;
        if (!OrSystemByte(descriptor.Address + 5, 1))
            return false;
        descriptor.Raw |= 1ul << 40;
        return true;
    }

    /// <summary>Sets or clears the busy bit of a TSS descriptor in the GDT.</summary>
    private bool SetBusy(ulong descriptorAddress, bool busy) => OrSystemByte(descriptorAddress + 5, busy ? (byte)2 : (byte)0, busy ? (byte)0 : (byte)2);

    /// <summary>Loads ES, SS, DS, FS or GS in whatever mode holds. False: a fault is pending and nothing has changed.</summary>
    internal bool LoadSegment(int index, ushort selector)
    {
        if (!Protected || Virtual8086)
        {
            SetRealSegment(index, selector);
            return true;
        }
        return index == SegmentIndex.Ss ? LoadStackSegment(selector) : LoadDataSegment(index, selector, Vector.GeneralProtection);
    }

    /// <summary>Real and virtual-8086 mode: the base is the selector times 16.</summary>
    internal void SetRealSegment(int index, ushort selector)
    {
        SegmentRegister* register = Segment(index);
        register->Selector = selector;
        register->Base = (ulong)selector << 4;
        if (Virtual8086)
        {
            register->Limit = 0xFFFF;
            register->Attributes = 0xF3;
        }
        else if (index == SegmentIndex.Cs || (register->Attributes & SegmentAttributes.Unusable) != 0)
        {
            // Limits and rights loaded in protected mode stay ("unreal mode"), but code becomes writable again.
            if ((register->Attributes & SegmentAttributes.Unusable) != 0)
                register->Limit = 0xFFFF;
            register->Attributes = (register->Attributes & SegmentAttributes.Big) | 0x93;
        }
        SegmentLoaded(register);
    }

    internal void SetNull(SegmentRegister* register, ushort selector, uint dpl = 0)
    {
        *register = new SegmentRegister { Selector = selector, Attributes = SegmentAttributes.Unusable | (dpl << SegmentAttributes.DplShift) };
    }

    internal bool LoadDataSegment(int index, ushort selector, byte vector)
    {
        CpuState* s = State;
        if (IsNull(selector))
        {
            SetNull(Segment(index), selector);
            return true;
        }
        if (!ReadDescriptor(selector, vector, out Descriptor d))
            return false;
        uint rpl = selector & 3u;
        bool guarded = d.IsData || !d.IsConforming;
        if (d.IsSystem || !d.IsReadable || (guarded && (rpl > d.Dpl || (uint)s->Cpl > d.Dpl)))
            return SelectorFault(vector, selector) == 0;
        if (!d.IsPresent)
            return SelectorFault(Vector.SegmentNotPresent, selector) == 0;
        if (!MarkAccessed(ref d))
            return false;
        SegmentRegister* register = Segment(index);
        *register = d.ToRegister(selector);
        SegmentLoaded(register);
        return true;
    }

    private bool LoadStackSegment(ushort selector)
    {
        CpuState* s = State;
        if (IsNull(selector))
        {
            if (s->Is64 == 0 || s->Cpl == 3 || (selector & 3) != s->Cpl)
                return GeneralProtection() == 0;
            SetNull(&s->Ss, selector, (uint)s->Cpl);
            return true;
        }
        if (!ReadStackDescriptor(selector, s->Cpl, Vector.GeneralProtection, out Descriptor d) || !MarkAccessed(ref d))
            return false;
        s->Ss = d.ToRegister(selector);
        SegmentLoaded(&s->Ss);
        return true;
    }

    /// <summary>Reads and checks a stack segment's descriptor for a privilege level; <paramref name="vector"/> is #GP or #TS.</summary>
    internal bool ReadStackDescriptor(ushort selector, int cpl, byte vector, out Descriptor d)
    {
        d = default;
        if (IsNull(selector))
            return FaultCode(vector, 0) == 0;
        if (!ReadDescriptor(selector, vector, out d))
            return false;
        if ((selector & 3) != cpl || !d.IsWritableData || d.Dpl != (uint)cpl)
            return SelectorFault(vector, selector) == 0;
        return d.IsPresent || SelectorFault(Vector.StackFault, selector) == 0;
    }

    /// <summary>Installs a code segment at a privilege level. The descriptor has passed every check; <see cref="ModeChanged"/> is the caller's.</summary>
    internal void SetCode(in Descriptor d, ushort selector, int cpl)
    {
        CpuState* s = State;
        s->Cs = d.ToRegister((ushort)((selector & NullMask) | (uint)cpl));
        SegmentLoaded(&s->Cs);
        s->Cpl = cpl;
    }

    internal void SetStackSegment(in Descriptor d, ushort selector)
    {
        State->Ss = d.ToRegister(selector);
        SegmentLoaded(&State->Ss);
    }

    /// <summary>After a return to an outer ring: data segments that the ring must not hold become null (SDM Vol. 2, RET and IRET).</summary>
    internal void DropInnerSegments()
    {
        CpuState* s = State;
        for (int i = 0; i < 6; i++)
        {
            if (i is SegmentIndex.Cs or SegmentIndex.Ss)
                continue;
            SegmentRegister* register = Segment(i);
            uint attributes = register->Attributes;
            bool conforming = (attributes & (SegmentAttributes.Code | SegmentAttributes.ExpandDown)) == (SegmentAttributes.Code | SegmentAttributes.ExpandDown);
            bool isNull = (attributes & SegmentAttributes.Unusable) != 0;
            if (!isNull && (conforming || register->Dpl >= (uint)s->Cpl))
                continue;
            // The base stays: 64-bit code goes on using FS and GS.
            register->Selector = 0;
            register->Attributes |= SegmentAttributes.Unusable;
            SegmentLoaded(register);
        }
    }

    /// <summary>Checks a target offset against a code segment about to be loaded: canonical in 64-bit code, else within the limit.</summary>
    internal bool CheckOffset(in Descriptor code, ulong offset)
    {
        bool wide = LongMode && code.IsLong;
        bool fits = wide ? Canonical(offset, 1) : offset <= code.Limit;
        return fits || GeneralProtection() == 0;
    }

    /// <summary>A stack that is being built before the registers that select it change.</summary>
    internal struct StackCursor
    {
        public SegmentRegister Segment;
        public ulong Pointer;
        /// <summary>All ones: 64-bit, without segment.</summary>
        public ulong Mask;
        public int Cpl;
        /// <summary>What a #SS names: the new stack segment, or 0 for the current one.</summary>
        public ushort Blame;
    }

    internal StackCursor CurrentStack() => new() { Segment = State->Ss, Pointer = State->Gpr[4], Mask = State->StackMask, Cpl = State->Cpl };

    internal StackCursor NewStack(in Descriptor d, ushort selector, ulong pointer, int cpl)
    {
        StackCursor cursor = new()
        {
            Segment = d.ToRegister(selector), Pointer = pointer, Mask = d.IsBig ? 0xFFFF_FFFFul : 0xFFFFul, Cpl = cpl, Blame = selector,
        };
        SegmentLoaded(&cursor.Segment);
        return cursor;
    }

    internal bool PushOn(ref StackCursor stack, ulong value, int size)
    {
        ulong offset = (stack.Pointer - (ulong)size) & stack.Mask;
        ulong linear = offset;
        if (stack.Mask != ulong.MaxValue)
        {
            linear = (uint)(stack.Segment.Base + offset);
            fixed (SegmentRegister* segment = &stack.Segment)
                if (!SegmentSlow(segment, offset, size, write: true))
                    return SelectorFault(Vector.StackFault, stack.Blame) == 0;
        }
        if (!TransferAs(linear, (byte*)&value, size, SegmentIndex.Ss, stack.Cpl, store: true))
            return false;
        stack.Pointer = (stack.Pointer & ~stack.Mask) | offset;
        return true;
    }

    /// <summary>Reads the stack pointer (and in legacy modes the stack segment) of an inner ring from the TSS (SDM Vol. 3, 7.2.1).</summary>
    internal bool ReadInnerStack(int cpl, out ushort selector, out ulong pointer)
    {
        CpuState* s = State;
        selector = 0;
        pointer = 0;
        bool wide = (s->Tr.Attributes & 8) != 0;
        uint offset = wide ? (uint)cpl * 8 + 4 : (uint)cpl * 4 + 2;
        uint size = wide ? 8u : 4u;
        // The selector's upper half is not read, but the limit counts it out as well (SDM Vol. 2, CALL).
        if (offset + (wide ? 5u : 3u) > s->Tr.Limit)
            return SelectorFault(Vector.InvalidTss, s->Tr.Selector) == 0;
        int width = (int)size / 2;
        if (!LoadSystem(Linear(s->Tr.Base + offset), width, out pointer)
            || !LoadSystem(Linear(s->Tr.Base + offset + (uint)width), 2, out ulong ss))
            return false;
        selector = (ushort)ss;
        return true;
    }

    /// <summary>Reads one of the stack pointers of a 64-bit TSS: RSP0 at offset 4, IST1 at 0x24 (SDM Vol. 3, figure 7-11).</summary>
    internal bool ReadLongStack(uint offset, out ulong pointer)
    {
        CpuState* s = State;
        pointer = 0;
        if (offset + 7 > s->Tr.Limit)
            return SelectorFault(Vector.InvalidTss, s->Tr.Selector) == 0;
        return LoadSystem(s->Tr.Base + offset, 8, out pointer);
    }
}
