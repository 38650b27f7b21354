using Trapline.X86;

namespace Trapline.Cpu;

/// <summary>Model-specific registers that the engine owns; the machine's go through the I/O seam.</summary>
public sealed unsafe partial class SoftwareVcpu
{
    /// <summary>IA32_TSC.</summary>
    internal ulong TimeStampCounter => _io.TimeStampCounter + State->TscOffset;

    /// <summary>The machine's time-stamp counter follows the host's clock.</summary>
    private bool _timeRuns;

    /// <summary>Translated code reads the counter by itself while it can.</summary>
    private void TellTime()
    {
        ulong? lead = _io.TimeStampLead;
        _timeRuns = lead is not null;
        _low.Frame->TimeLead = lead.GetValueOrDefault();
        AllowTime();
    }

    /// <summary>Not with CR4.TSD, which makes RDTSC fault outside ring 0. Call after CR4 changes.</summary>
    private void AllowTime() => _low.Frame->TimeRuns = _timeRuns && (State->Cr4 & Cr4.Tsd) == 0 ? 1u : 0u;

    private ulong _machineCheckStatus;
    private readonly ulong[] _machineCheckBanks = new ulong[4 * VcpuMsrs.MachineCheckBanks];

    /// <summary>RDMSR; false means #GP.</summary>
    internal bool ReadMsr(uint index, out ulong value)
    {
        CpuState* s = State;
        value = 0;
        switch (index)
        {
            case Msr.Tsc: value = TimeStampCounter; return true;
            case Msr.TscAdjust: value = s->TscAdjust; return _model.Has(Feature.TscAdjust);
            case Msr.FeatureControl: value = 1; return _model.IsIntel;
            case Msr.SpecCtrl: value = s->SpecCtrl; return _model.Has(Feature.SpecCtrl);
            case Msr.ArchCapabilities: value = CpuModel.ArchCapabilities; return _model.Has(Feature.ArchCapabilities);
            case Msr.SysenterCs: value = s->SysenterCs; return true;
            case Msr.SysenterEsp: value = s->SysenterEsp; return true;
            case Msr.SysenterEip: value = s->SysenterEip; return true;
            case Msr.MiscEnable: value = s->MiscEnable; return _model.IsIntel;
            case Msr.DebugCtl: value = s->DebugCtl; return true;
            case Msr.Pat: value = s->Pat; return true;
            case Msr.Xss: value = s->Xss; return _model.Has(Feature.XsaveS);
            case Msr.Efer: value = s->Efer; return true;
            case Msr.Star: value = s->Star; return true;
            case Msr.Lstar: value = s->Lstar; return true;
            case Msr.Cstar: value = s->Cstar; return true;
            case Msr.Fmask: value = s->Fmask; return true;
            case Msr.FsBase: value = s->Fs.Base; return true;
            case Msr.GsBase: value = s->Gs.Base; return true;
            case Msr.KernelGsBase: value = s->KernelGsBase; return true;
            case Msr.TscAux: value = s->TscAux; return _model.Has(Feature.Rdtscp) || _model.Has(Feature.Rdpid);
            case Msr.TscDeadline:
                // The machine's timer compares with its own counter; the guest's is offset from it.
                if (!_io.ReadMsr(Index, index, out value))
                    return false;
                if (value != 0)
                    value += s->TscOffset;
                return true;
            case Msr.MicrocodeRevision: value = 1ul << 32; return true;
            case Msr.PlatformId: return _model.IsIntel;
            case Msr.PlatformInfo: value = _model.TscFrequency / 100_000_000 << 8; return _model.IsIntel;
            case Msr.MiscFeatureEnables: return _model.IsIntel;
            case Msr.McgCap: value = VcpuMsrs.MachineCheckBanks; return true;
            case Msr.McgStatus: value = _machineCheckStatus; return true;
            case Msr.HardwareConfiguration: return !_model.IsIntel;
            case Msr.DecodeConfiguration: value = 2; return !_model.IsIntel;
            case >= Msr.Mc0Control and < Msr.Mc0Control + 4 * VcpuMsrs.MachineCheckBanks: value = _machineCheckBanks[index - Msr.Mc0Control]; return true;
            case Msr.LastBranchFromIp or Msr.LastBranchToIp or Msr.LastInterruptFromIp or Msr.LastInterruptToIp: return true;
            default: return _io.ReadMsr(Index, index, out value);
        }
    }

    /// <summary>WRMSR; false means #GP with nothing changed. The caller ends its block.</summary>
    internal bool WriteMsr(uint index, ulong value)
    {
        CpuState* s = State;
        switch (index)
        {
            case Msr.Tsc:
            {
                ulong change = value - TimeStampCounter;
                s->TscOffset += change;
                s->TscAdjust += change;
                _io.TimeStampOffsetChanged(Index, s->TscOffset);
                return true;
            }
            case Msr.TscAdjust:
                if (!_model.Has(Feature.TscAdjust))
                    return false;
                s->TscOffset += value - s->TscAdjust;
                s->TscAdjust = value;
                _io.TimeStampOffsetChanged(Index, s->TscOffset);
                return true;
            case Msr.TscDeadline:
                return _io.WriteMsr(Index, index, value == 0 ? 0 : value - s->TscOffset);
            case Msr.SpecCtrl:
                // IBRS, STIBP, SSBD and BHI_DIS_S are accepted and change nothing: nothing is speculated across guest rings.
                if (!_model.Has(Feature.SpecCtrl) || (value & ~0x407ul) != 0)
                    return false;
                s->SpecCtrl = value;
                return true;
            case Msr.PredCmd: return _model.Has(Feature.SpecCtrl) && (value & ~1ul) == 0;
            case Msr.SysenterCs: s->SysenterCs = value & 0xFFFF_FFFF; return true;
            case Msr.SysenterEsp: return SetAddress(ref s->SysenterEsp, value);
            case Msr.SysenterEip: return SetAddress(ref s->SysenterEip, value);
            case Msr.MiscEnable:
                if (!_model.IsIntel)
                    return false;
                s->MiscEnable = (value & ~MiscEnableReadOnly) | (s->MiscEnable & MiscEnableReadOnly);
                return true;
            case Msr.DebugCtl:
                // LBR and BTF may be set without effect; what needs trace hardware may not.
                if ((value & ~0x3ul) != 0)
                    return false;
                s->DebugCtl = value;
                return true;
            case Msr.Pat:
                for (int i = 0; i < 8; i++)
                    if ((byte)(value >> (i * 8)) is 2 or 3 or > 7)
                        return false;
                s->Pat = value;
                return true;
            case Msr.Xss:
                if (!_model.Has(Feature.XsaveS) || value != 0)
                    return false;
                s->Xss = value;
                return true;
            case Msr.Efer: return WriteEfer(value);
            case Msr.Star: s->Star = value; return true;
            case Msr.Lstar: return SetAddress(ref s->Lstar, value);
            case Msr.Cstar: return SetAddress(ref s->Cstar, value);
            case Msr.Fmask:
                if (value >> 32 != 0)
                    return false;
                s->Fmask = value;
                return true;
            case Msr.FsBase: return SetSegmentBase(SegmentIndex.Fs, value);
            case Msr.GsBase: return SetSegmentBase(SegmentIndex.Gs, value);
            case Msr.KernelGsBase: return SetAddress(ref s->KernelGsBase, value);
            case Msr.TscAux:
                if (value >> 32 != 0 || !(_model.Has(Feature.Rdtscp) || _model.Has(Feature.Rdpid)))
                    return false;
                s->TscAux = value;
                return true;
            case Msr.FeatureControl: return false; // locked
            case Msr.MicrocodeRevision: return true;
            case Msr.MicrocodeUpdate: return true; // no update ever applies
            case Msr.McgStatus: _machineCheckStatus = value & 7; return true;
            case Msr.MiscFeatureEnables: return _model.IsIntel && value == 0;
            case >= Msr.Mc0Control and < Msr.Mc0Control + 4 * VcpuMsrs.MachineCheckBanks:
                // Controls are all zeros or all ones, status can only be cleared (SDM Vol. 3, 16.3.2).
                if (((index & 3) == 0 && value + 1 > 1) || ((index & 3) == 1 && value != 0))
                    return false;
                _machineCheckBanks[index - Msr.Mc0Control] = value;
                return true;
            case Msr.HardwareConfiguration or Msr.DecodeConfiguration: return !_model.IsIntel;
            case Msr.ArchCapabilities or Msr.PlatformId or Msr.PlatformInfo or Msr.McgCap: return false;
            default: return _io.WriteMsr(Index, index, value);
        }
    }

    /// <summary>Bits of IA32_MISC_ENABLE that say what the processor lacks: no branch trace store, no precise event sampling.</summary>
    private const ulong MiscEnableReadOnly = 1ul << 11 | 1ul << 12 | 1ul << 7;

    private bool SetAddress(ref ulong register, ulong value)
    {
        if (!Canonical(value, 1))
            return false;
        register = value;
        return true;
    }

    /// <summary>Sets the base of FS or GS: WRFSBASE, WRMSR, SWAPGS. False: not canonical.</summary>
    internal bool SetSegmentBase(int index, ulong value)
    {
        if (!Canonical(value, 1))
            return false;
        Segment(index)->Base = value;
        State->AddressBase[index] = value;
        return true;
    }
}
