using Trapline.Cpu.Interpreter;
using Trapline.X86;

namespace Trapline.Cpu;

/// <summary>Writes to control registers, EFER and XCR0: reserved bits, illegal combinations, and what each change does to translations.</summary>
/// <remarks>Each method returns false for #GP(0), with nothing changed. Callers end their block and call <see cref="ModeChanged"/>.</remarks>
public sealed unsafe partial class SoftwareVcpu
{
    internal bool WriteCr0(ulong value)
    {
        CpuState* s = State;
        if (value >> 32 != 0)
            return false;
        value = (value & Cr0.Defined) | Cr0.Et;
        ulong changed = value ^ s->Cr0;
        bool paging = (value & Cr0.Pg) != 0;
        if ((paging && (value & Cr0.Pe) == 0) || ((value & Cr0.Nw) != 0 && (value & Cr0.Cd) == 0))
            return false;
        ulong efer = s->Efer;
        if ((changed & Cr0.Pg) != 0)
        {
            if (paging && (efer & Efer.Lme) != 0)
            {
                // Activation of long mode (SDM Vol. 3, 10.8.5): PAE on, CS.L clear, no 16-bit TSS.
                if ((s->Cr4 & Cr4.Pae) == 0 || (s->Cs.Attributes & SegmentAttributes.Long) != 0 || (s->Tr.Attributes & 0xD) == 1)
                    return false;
                efer |= Efer.Lma;
            }
            else if (!paging && LongMode)
            {
                if (s->Is64 != 0 || (s->Cr4 & Cr4.Pcide) != 0)
                    return false;
                efer &= ~Efer.Lma;
            }
            else if (!paging && (s->Cr4 & Cr4.Pcide) != 0)
            {
                return false;
            }
        }
        bool pae = paging && (s->Cr4 & Cr4.Pae) != 0 && (efer & Efer.Lma) == 0;
        if (pae && (changed & (Cr0.Pg | Cr0.Cd | Cr0.Nw)) != 0 && !Mmu.Walker.TryLoadPdptes(s->Cr3))
            return false;
        s->Efer = efer;
        s->Cr0 = value;
        if ((changed & (Cr0.Pg | Cr0.Pe)) != 0)
            Mmu.FlushAll();
        else if ((changed & Cr0.Wp) != 0)
            Mmu.RightsChanged();
        return true;
    }

    internal bool WriteCr3(ulong value)
    {
        CpuState* s = State;
        bool keep = false;
        if (LongMode)
        {
            if ((s->Cr4 & Cr4.Pcide) != 0)
            {
                keep = (value >> 63) != 0;
                value &= ~(1ul << 63);
            }
            if (value >> _model.PhysicalAddressBits != 0)
                return false;
        }
        else
        {
            value = (uint)value;
            if ((s->Cr4 & Cr4.Pae) != 0 && (s->Cr0 & Cr0.Pg) != 0 && !Mmu.Walker.TryLoadPdptes(value))
                return false;
        }
        s->Cr3 = value;
        Mmu.RootChanged(keep);
        return true;
    }

    internal bool WriteCr4(ulong value)
    {
        CpuState* s = State;
        ulong changed = value ^ s->Cr4;
        if ((value & ~_model.Cr4Bits) != 0)
            return false;
        if (LongMode && (value & Cr4.Pae) == 0)
            return false;
        if ((changed & value & Cr4.Pcide) != 0 && (!LongMode || (s->Cr3 & 0xFFF) != 0))
            return false;
        const ulong reload = Cr4.Pae | Cr4.Pge | Cr4.Pse | Cr4.Smep;
        if ((changed & reload) != 0 && (value & Cr4.Pae) != 0 && (s->Cr0 & Cr0.Pg) != 0 && !LongMode && !Mmu.Walker.TryLoadPdptes(s->Cr3))
            return false;
        s->Cr4 = value;
        if ((changed & (reload | Cr4.Pcide)) != 0)
            Mmu.FlushAll();
        else if ((changed & (Cr4.Smap | Cr4.Pke)) != 0)
            Mmu.RightsChanged();
        return true;
    }

    internal bool WriteEfer(ulong value)
    {
        CpuState* s = State;
        if ((value & ~_model.EferBits) != 0)
            return false;
        ulong changed = value ^ s->Efer;
        if ((changed & Efer.Lme) != 0 && (s->Cr0 & Cr0.Pg) != 0)
            return false;
        s->Efer = (value & ~Efer.Lma) | (s->Efer & Efer.Lma);
        if ((changed & Efer.Nxe) != 0)
            Mmu.FlushAll();
        return true;
    }

    internal bool WriteXcr0(ulong value)
    {
        if ((value & ~_model.Xcr0Bits) != 0 || (value & 1) == 0 || ((value & 4) != 0 && (value & 2) == 0))
            return false;
        State->Xcr0 = value;
        ModeChanged();
        return true;
    }

    internal void WritePkru(uint value)
    {
        if (State->Pkru == value)
            return;
        State->Pkru = value;
        Mmu.RightsChanged();
    }
}
