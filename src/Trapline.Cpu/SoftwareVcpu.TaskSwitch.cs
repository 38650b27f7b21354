using Trapline.Cpu.Interpreter;
using Trapline.Cpu.Mmu;
using Trapline.X86;

namespace Trapline.Cpu;

/// <summary>What started a task switch: this decides about busy bits, the back link and NT (SDM Vol. 3, table 7-2).</summary>
internal enum TaskSwitchKind
{
    Jump,
    Call,
    Interrupt,
    Return,
}

/// <summary>Hardware task switching with 16-bit and 32-bit task-state segments (SDM Vol. 3, chapter 7).</summary>
public sealed unsafe partial class SoftwareVcpu
{
    private const uint LastOf32 = 0x67;
    private const uint LastOf16 = 0x2B;

    /// <summary>True once a task switch has passed its point of no return: later faults belong to the new task.</summary>
    private bool _taskCommitted;

    /// <summary>Reads the descriptor of a task to switch to by JMP, CALL or a gate: in the GDT, available, present.</summary>
    internal bool ReadTaskDescriptor(ushort selector, out Descriptor descriptor)
    {
        descriptor = default;
        if (IsNull(selector) || (selector & 4) != 0)
            return SelectorFault(Vector.GeneralProtection, selector) == 0;
        if (!ReadDescriptor(selector, Vector.GeneralProtection, out descriptor))
            return false;
        if (!descriptor.IsSystem || descriptor.Type is not (SystemType.Tss16 or SystemType.Tss32))
            return SelectorFault(Vector.GeneralProtection, selector) == 0;
        return descriptor.IsPresent || SelectorFault(Vector.SegmentNotPresent, selector) == 0;
    }

    /// <summary>IRET with NT set: back to the task that the current TSS links to.</summary>
    internal int ReturnToLinkedTask(ulong nextRip)
    {
        CpuState* s = State;
        _taskCommitted = false;
        if (!LoadSystem((uint)s->Tr.Base, 2, out ulong link))
            return Status.Fault;
        ushort selector = (ushort)link;
        if (IsNull(selector) || (selector & 4) != 0)
            return SelectorFault(Vector.InvalidTss, selector);
        if (!ReadDescriptor(selector, Vector.InvalidTss, out Descriptor descriptor))
            return Status.Fault;
        if (!descriptor.IsSystem || descriptor.Type is not (SystemType.Tss16Busy or SystemType.Tss32Busy))
            return SelectorFault(Vector.InvalidTss, selector);
        if (!descriptor.IsPresent)
            return SelectorFault(Vector.SegmentNotPresent, selector);
        return Settle(SwitchTask(TaskSwitchKind.Return, selector, descriptor, nextRip));
    }

    /// <summary>Switches tasks. <see cref="Status.Fault"/> with <see cref="_taskCommitted"/> set: the fault is the new task's.</summary>
    internal int SwitchTask(TaskSwitchKind kind, ushort selector, in Descriptor descriptor, ulong nextRip)
    {
        CpuState* s = State;
        _taskCommitted = false;
        bool wide = (descriptor.Type & 8) != 0;
        if (descriptor.Limit < (wide ? LastOf32 : LastOf16))
            return SelectorFault(Vector.InvalidTss, selector);
        ulong newBase = descriptor.Base, oldBase = s->Tr.Base;
        bool oldWide = (s->Tr.Attributes & 8) != 0;
        bool nests = kind is TaskSwitchKind.Call or TaskSwitchKind.Interrupt;

        // Everything that can fault in the old task comes first: the new image is read, the old one's pages are probed for writing.
        uint* image = stackalloc uint[26];
        if (!ReadTaskImage(newBase, wide, image))
            return Status.Fault;
        if (!ProbeSystem(oldBase + (oldWide ? 0x20u : 0x0Eu), oldWide ? 0x40 : 0x1C) || (nests && !ProbeSystem(newBase, 2)))
            return Status.Fault;
        ulong flags = Flags.Get(s);
        if (kind == TaskSwitchKind.Return)
            flags &= ~Rflags.Nt;
        SaveTask(oldBase, oldWide, (uint)nextRip, (uint)flags);
        if (!nests && DescriptorAddress(s->Tr.Selector, 8, out ulong oldDescriptor) && !SetBusy(oldDescriptor, busy: false))
            return Status.Fault;
        if (nests)
            StoreSystem((uint)newBase, 2, s->Tr.Selector);
        if (kind != TaskSwitchKind.Return && !SetBusy(descriptor.Address, busy: true))
            return Status.Fault;

        _taskCommitted = true;
        s->Tr = descriptor.ToRegister(selector);
        s->Tr.Attributes |= 2;
        s->Cr0 |= Cr0.Ts;
        s->Dr[7] &= ~0x155ul; // local enables end with the task
        bool loaded = LoadTask(image, wide, nests);
        ModeChanged();
        if (!loaded)
            return Status.Fault;
        if (wide && (image[25] & 1) != 0)
        {
            s->PendingDebug |= DebugStatus.TaskSwitch;
            RequestStep();
        }
        return Status.BlockEnd;
    }

    /// <summary>Reads a TSS into words in the order of the 32-bit format, from offset 0.</summary>
    private bool ReadTaskImage(ulong address, bool wide, uint* image)
    {
        if (wide)
        {
            for (uint i = 0; i < 26; i++)
            {
                if (!LoadSystem((uint)(address + i * 4), 4, out ulong word))
                    return false;
                image[i] = (uint)word;
            }
            return true;
        }
        for (uint i = 0; i < 26; i++)
            image[i] = 0;
        // 16-bit format: IP at 0x0E, FLAGS, eight registers, ES, CS, SS, DS, LDT.
        for (uint i = 0; i < 15; i++)
        {
            if (!LoadSystem((uint)(address + 0x0E + i * 2), 2, out ulong word))
                return false;
            uint to = i == 14 ? 24 : 8 + i;
            image[to] = (uint)word;
        }
        return true;
    }

    private bool ProbeSystem(ulong address, int size)
    {
        Access access = Access.Implicit | Access.Write;
        return TranslateOrFault((uint)address, access, out _) && TranslateOrFault((uint)(address + (ulong)size - 1), access, out _);
    }

    private void SaveTask(ulong address, bool wide, uint rip, uint flags)
    {
        CpuState* s = State;
        uint unit = wide ? 4u : 2u;
        ulong at = address + (wide ? 0x20u : 0x0Eu);
        Put(rip);
        Put(flags);
        for (int i = 0; i < 8; i++)
            Put((uint)s->Gpr[i]);
        for (int i = 0; i < (wide ? 6 : 4); i++)
        {
            // Only the selectors' 16 bits are written (SDM Vol. 3, 7.2.1).
            StoreSystem((uint)at, 2, Segment(i)->Selector);
            at += unit;
        }

        void Put(uint value)
        {
            StoreSystem((uint)at, (int)unit, value);
            at += unit;
        }
    }

    /// <summary>Loads the new task's registers; false: a fault in the new task is pending.</summary>
    private bool LoadTask(uint* image, bool wide, bool nests)
    {
        CpuState* s = State;
        ulong flags = image[9];
        if (nests)
            flags |= Rflags.Nt;
        bool pagingChanged = wide && (s->Cr0 & Cr0.Pg) != 0;
        bool pdptesLoaded = true;
        if (pagingChanged)
        {
            s->Cr3 = image[7];
            if ((s->Cr4 & Cr4.Pae) != 0)
                pdptesLoaded = Mmu.Walker.TryLoadPdptes(s->Cr3);
            Mmu.RootChanged(keep: false);
        }
        s->Rip = image[8];
        Flags.Set(s, flags);
        for (int i = 0; i < 8; i++)
            s->Gpr[i] = wide ? image[10 + i] : 0xFFFF_0000 & s->Gpr[i] | image[10 + i];
        ushort* selectors = stackalloc ushort[6];
        for (int i = 0; i < 6; i++)
        {
            selectors[i] = (ushort)image[18 + i];
            SetNull(Segment(i), selectors[i]);
        }
        ushort ldt = (ushort)image[24];
        SetNull(&s->Ldtr, ldt);
        bool virtual8086 = (flags & Rflags.Vm) != 0;
        s->Cpl = virtual8086 ? 3 : selectors[SegmentIndex.Cs] & 3;
        if (!pdptesLoaded)
            return GeneralProtection() == 0;
        if (!LoadTaskLdt(ldt))
            return false;
        if (virtual8086)
        {
            for (int i = 0; i < 6; i++)
                SetRealSegment(i, selectors[i]);
            return s->Rip <= 0xFFFF || GeneralProtection() == 0;
        }
        if (!LoadTaskCode(selectors[SegmentIndex.Cs]))
            return false;
        if (!ReadStackDescriptor(selectors[SegmentIndex.Ss], s->Cpl, Vector.InvalidTss, out Descriptor stack) || !MarkAccessed(ref stack))
            return false;
        SetStackSegment(stack, selectors[SegmentIndex.Ss]);
        foreach (int i in (ReadOnlySpan<int>)[SegmentIndex.Ds, SegmentIndex.Es, SegmentIndex.Fs, SegmentIndex.Gs])
            if (!LoadDataSegment(i, selectors[i], Vector.InvalidTss))
                return false;
        return s->Rip <= s->Cs.Limit || GeneralProtection() == 0;
    }

    private bool LoadTaskLdt(ushort selector)
    {
        if (IsNull(selector))
            return true;
        if ((selector & 4) != 0)
            return SelectorFault(Vector.InvalidTss, selector) == 0;
        if (!ReadDescriptor(selector, Vector.InvalidTss, out Descriptor d))
            return false;
        if (!d.IsSystem || d.Type != SystemType.Ldt || !d.IsPresent)
            return SelectorFault(Vector.InvalidTss, selector) == 0;
        State->Ldtr = d.ToRegister(selector);
        return true;
    }

    private bool LoadTaskCode(ushort selector)
    {
        if (IsNull(selector))
            return SelectorFault(Vector.InvalidTss, selector) == 0;
        if (!ReadDescriptor(selector, Vector.InvalidTss, out Descriptor d))
            return false;
        uint rpl = selector & 3u;
        if (!d.IsCode || (d.IsConforming ? d.Dpl > rpl : d.Dpl != rpl))
            return SelectorFault(Vector.InvalidTss, selector) == 0;
        if (!d.IsPresent)
            return SelectorFault(Vector.SegmentNotPresent, selector) == 0;
        if (!MarkAccessed(ref d))
            return false;
        SetCode(d, selector, (int)rpl);
        return true;
    }
}
