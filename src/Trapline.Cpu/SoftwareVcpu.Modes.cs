using Trapline.Cpu.Interpreter;
using Trapline.X86;

namespace Trapline.Cpu;

/// <summary>What follows from the control registers, the code segment and the privilege level: derived state kept in step here.</summary>
public sealed unsafe partial class SoftwareVcpu
{
    /// <summary>True while RFLAGS.AC, CR0.AM and ring 3 together check alignment (SDM Vol. 3, 6.15, #AC).</summary>
    private bool _alignmentCheck;
    private bool _dataBreakpoints;
    private bool _codeBreakpoints;

    internal bool LongMode => (State->Efer & Efer.Lma) != 0;
    internal bool Protected => (State->Cr0 & Cr0.Pe) != 0;
    internal bool Virtual8086 => (State->RFlags & Rflags.Vm) != 0;

    /// <summary>Call after any change of CS, SS, data segments, CPL, CR0, CR4, EFER, DR7, RFLAGS.VM, AC or TF. The handler must end its block.</summary>
    internal void ModeChanged()
    {
        CpuState* s = State;
        bool wide = LongMode && (s->Cs.Attributes & SegmentAttributes.Long) != 0;
        s->Is64 = wide ? 1 : 0;
        s->StackMask = wide ? ulong.MaxValue : (s->Ss.Attributes & SegmentAttributes.Big) != 0 ? 0xFFFF_FFFFul : 0xFFFFul;
        for (int i = 0; i < 6; i++)
            s->AddressBase[i] = wide && i < SegmentIndex.Fs ? 0 : (&s->Es + i)->Base;
        uint mode = wide ? BlockMode.Code64 : (s->Cs.Attributes & SegmentAttributes.Big) != 0 ? BlockMode.Code32 : BlockMode.Code16;
        if (wide)
            mode |= BlockMode.Flat;
        else
            mode |= NarrowMode(s);
        if (!Protected || Virtual8086)
            mode |= BlockMode.Legacy;
        if ((s->Cr0 & (Cr0.Em | Cr0.Ts)) != 0)
            mode |= BlockMode.NoX87;
        const ulong needed = XsaveLayout.Sse | XsaveLayout.Avx;
        if ((s->Cr0 & (Cr0.Em | Cr0.Ts)) != 0 || (s->Cr4 & (Cr4.OsFxsr | Cr4.OsXsave)) != (Cr4.OsFxsr | Cr4.OsXsave) || (s->Xcr0 & needed) != needed)
            mode |= BlockMode.NoVectors;
        _alignmentCheck = s->Cpl == 3 && (s->Cr0 & Cr0.Am) != 0 && (s->RFlags & Rflags.Ac) != 0;
        ulong enabled = s->Dr[7] & 0xFF;
        _dataBreakpoints = _codeBreakpoints = false;
        for (int i = 0; i < 4 && enabled != 0; i++)
            if ((enabled & (3ul << (i * 2))) != 0)
            {
                if (((s->Dr[7] >> (16 + i * 4)) & 3) == 0)
                    _codeBreakpoints = true;
                else
                    _dataBreakpoints = true;
            }
        AllowTime();
        SelectContext();
        s->Mode = mode | (uint)Mmu.Context << BlockMode.ContextShift;
        // A data breakpoint traps right after its instruction, not at the end of a block.
        if ((s->RFlags & Rflags.Tf) != 0 || _codeBreakpoints || _dataBreakpoints)
            RequestStep();
    }

    /// <summary>Rings 1 and 2 bypass the fast paths, so that those need to tell only user and supervisor.</summary>
    private void SelectContext()
    {
        Mmu.SelectContext(_alignmentCheck || _dataBreakpoints || State->Cpl is 1 or 2);
        if (State->Is64 == 0)
            Mmu.Keep4GiB();
    }

    /// <summary>AC changed outside ring 3: SMAP may admit user pages from now on, or no longer.</summary>
    internal void AccessControlChanged()
    {
        SelectContext();
        State->Mode = (State->Mode & ~BlockMode.ContextMask) | (uint)Mmu.Context << BlockMode.ContextShift;
    }

    /// <summary>Keeps <see cref="SegmentRegister.FastRights"/> in step with the attributes. Call after loading a segment register.</summary>
    internal static void SegmentLoaded(SegmentRegister* register)
    {
        uint attributes = register->Attributes;
        byte rights = 0;
        bool usable = (attributes & SegmentAttributes.Unusable) == 0 && (attributes & SegmentAttributes.Present) != 0;
        bool code = (attributes & SegmentAttributes.Code) != 0;
        if (usable && (code || (attributes & SegmentAttributes.ExpandDown) == 0))
        {
            if (!code || (attributes & SegmentAttributes.Writable) != 0)
                rights |= 1;
            if (!code && (attributes & SegmentAttributes.Writable) != 0)
                rights |= 2;
        }
        register->FastRights = rights;
    }

    /// <summary>What only code outside 64-bit mode asks of its segments; and its registers have 32 bits.</summary>
    private static uint NarrowMode(CpuState* s)
    {
        // What the upper halves hold is undefined after 64-bit code (SDM Vol. 1, 3.4.1.1). Zeros from here on: 32-bit instructions write no others.
        for (int i = 0; i < 8; i++)
            s->Gpr[i] = (uint)s->Gpr[i];
        uint mode = 0;
        bool code = s->Cs.Base == 0 && s->Cs.Limit == uint.MaxValue && (s->Cs.Attributes & SegmentAttributes.Big) != 0;
        if (code && (s->Ss.Attributes & SegmentAttributes.Big) != 0 && IsFlat(&s->Es) && IsFlat(&s->Ss) && IsFlat(&s->Ds))
            mode |= BlockMode.Flat;
        if (IsWide(&s->Fs))
            mode |= BlockMode.WideFs;
        if (IsWide(&s->Gs))
            mode |= BlockMode.WideGs;
        return mode;
    }

    private static bool IsWide(SegmentRegister* register) => register->FastRights == 3 && register->Limit == uint.MaxValue;

    private static bool IsFlat(SegmentRegister* register) => register->Base == 0 && IsWide(register);
}
