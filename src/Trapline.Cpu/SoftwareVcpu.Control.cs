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

    /// <summary>CR4 bits that this model has.</summary>
    private ulong Cr4Allowed()
    {
        ulong allowed = Cr4.Tsd | Cr4.Mce | Cr4.Pce | Cr4.OsFxsr | Cr4.OsXmmExcpt;
        Allow(Feature.Vme, Cr4.Vme | Cr4.Pvi);
        Allow(Feature.De, Cr4.De);
        Allow(Feature.Pse, Cr4.Pse);
        Allow(Feature.Pae, Cr4.Pae);
        Allow(Feature.Pge, Cr4.Pge);
        Allow(Feature.Umip, Cr4.Umip);
        Allow(Feature.FsGsBase, Cr4.FsGsBase);
        Allow(Feature.Pcid, Cr4.Pcide);
        Allow(Feature.Xsave, Cr4.OsXsave);
        Allow(Feature.Smep, Cr4.Smep);
        Allow(Feature.Smap, Cr4.Smap);
        Allow(Feature.Pku, Cr4.Pke);
        return allowed;

        void Allow(Feature feature, ulong bits)
        {
            if (_model.Has(feature))
                allowed |= bits;
        }
    }

    internal bool WriteCr4(ulong value)
    {
        CpuState* s = State;
        ulong changed = value ^ s->Cr4;
        if ((value & ~Cr4Allowed()) != 0)
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
        ulong allowed = Efer.Lma | (_model.Has(Feature.Syscall) ? Efer.Sce : 0) | (_model.Has(Feature.Lm) ? Efer.Lme : 0)
            | (_model.Has(Feature.Nx) ? Efer.Nxe : 0);
        if ((value & ~allowed) != 0)
            return false;
        ulong changed = value ^ s->Efer;
        if ((changed & Efer.Lme) != 0 && (s->Cr0 & Cr0.Pg) != 0)
            return false;
        s->Efer = (value & ~Efer.Lma) | (s->Efer & Efer.Lma);
        if ((changed & Efer.Nxe) != 0)
            Mmu.FlushAll();
        return true;
    }

    internal ulong Xcr0Allowed => _model.Xcr0Bits;

    internal bool WriteXcr0(ulong value)
    {
        if ((value & ~Xcr0Allowed) != 0 || (value & 1) == 0 || ((value & 4) != 0 && (value & 2) == 0))
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
