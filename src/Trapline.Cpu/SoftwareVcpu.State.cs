using Trapline.X86;

namespace Trapline.Cpu;

/// <summary>The exchange of the architectural state with other engines.</summary>
public sealed unsafe partial class SoftwareVcpu
{
    public VcpuState Export()
    {
        CpuState* s = State;
        int attention = Volatile.Read(ref s->Attention);
        ulong[] general = new ulong[16];
        for (int i = 0; i < 16; i++)
            general[i] = s->Gpr[i];
        SegmentState[] segments = new SegmentState[8];
        for (int i = 0; i < 8; i++)
        {
            SegmentRegister* r = Segment(i);
            segments[i] = new SegmentState(r->Selector, r->Base, r->Limit, r->Attributes);
        }
        Dictionary<uint, ulong> msrs = [];
        foreach (uint index in VcpuMsrs.Owned)
            if (ReadMsr(index, out ulong value))
                msrs[index] = value;
        return new VcpuState
        {
            General = general,
            Rip = s->Rip,
            Rflags = Flags.Get(s),
            Segments = segments,
            Gdtr = new TableState(s->GdtrBase, s->GdtrLimit),
            Idtr = new TableState(s->IdtrBase, s->IdtrLimit),
            Cr0 = s->Cr0,
            Cr2 = s->Cr2,
            Cr3 = s->Cr3,
            Cr4 = s->Cr4,
            Cr8 = _io.ReadCr8(Index),
            Xcr0 = s->Xcr0,
            Pkru = s->Pkru,
            Debug = [s->Dr[0], s->Dr[1], s->Dr[2], s->Dr[3], s->Dr[6], s->Dr[7]],
            Pdptes = UsesPdptes ? [s->Pdpte[0], s->Pdpte[1], s->Pdpte[2], s->Pdpte[3]] : [],
            Msrs = msrs,
            Xsave = ExportXsave(),
            X87CodeSelector = s->Fcs,
            X87DataSelector = s->Fds,
            Activity = _activity,
            StiShadow = s->StiShadow != 0,
            MovSsShadow = s->MovSsShadow != 0,
            NmiPending = s->NmiPending != 0 || (attention & AttentionNmi) != 0,
            NmiBlocked = s->NmiBlocked != 0,
            InitPending = (attention & AttentionInit) != 0,
            StartUpVector = (attention & AttentionStartUp) != 0 ? (byte)_startUpVector : null,
            Injected = _injected,
            PendingDebug = s->PendingDebug,
            TimeStampCounter = TimeStampCounter,
        };
    }

    public void Import(VcpuState state)
    {
        VcpuStateRules.Check(state, _model);
        CpuState* s = State;
        for (int i = 0; i < 16; i++)
            s->Gpr[i] = state.General[i];
        s->Gpr[16] = 0;
        s->Rip = state.Rip;
        Flags.Set(s, state.Rflags);
        for (int i = 0; i < 8; i++)
        {
            SegmentState from = state.Segments[i];
            SegmentRegister* r = Segment(i);
            *r = new SegmentRegister { Selector = from.Selector, Base = from.Base, Limit = from.Limit, Attributes = from.Attributes };
            if (i < 6)
                SegmentLoaded(r);
        }
        s->GdtrBase = state.Gdtr.Base;
        s->GdtrLimit = state.Gdtr.Limit;
        s->IdtrBase = state.Idtr.Base;
        s->IdtrLimit = state.Idtr.Limit;
        s->Cr0 = state.Cr0 | Cr0.Et;
        s->Cr2 = state.Cr2;
        s->Cr3 = state.Cr3;
        s->Cr4 = state.Cr4;
        s->Xcr0 = state.Xcr0;
        s->Pkru = state.Pkru;
        ImportMsrs(state.Msrs);
        for (int i = 0; i < 4; i++)
            s->Dr[i] = state.Debug[i];
        s->Dr[6] = state.Debug[4] | DebugStatus.Fixed;
        s->Dr[7] = state.Debug[5] | 0x400;
        ImportXsave(state.Xsave);
        s->Fcs = state.X87CodeSelector;
        s->Fds = state.X87DataSelector;
        _activity = state.Activity;
        s->StiShadow = (byte)(state.StiShadow ? 1 : 0);
        s->MovSsShadow = (byte)(state.MovSsShadow ? 1 : 0);
        s->NmiPending = (byte)(state.NmiPending ? 1 : 0);
        s->NmiBlocked = (byte)(state.NmiBlocked ? 1 : 0);
        s->PendingDebug = state.PendingDebug;
        s->TscOffset = state.TimeStampCounter - _io.TimeStampCounter;
        _io.TimeStampOffsetChanged(Index, s->TscOffset);
        // CR8 shows half of the task priority register, whose other half a write would clear.
        if (_io.ReadCr8(Index) != (byte)state.Cr8)
            _io.WriteCr8(Index, (byte)state.Cr8);
        bool isProtected = (state.Cr0 & Cr0.Pe) != 0;
        s->Cpl = !isProtected ? 0 : (state.Rflags & Rflags.Vm) != 0 ? 3
            : (int)((state.Segments[SegmentIndex.Ss].Attributes & SegmentAttributes.DplMask) >> SegmentAttributes.DplShift);
        if (UsesPdptes && state.Pdptes.Length == 0)
            Mmu.Walker.TryLoadPdptes(s->Cr3);
        for (int i = 0; i < state.Pdptes.Length; i++)
            s->Pdpte[i] = state.Pdptes[i];
        Mmu.FlushAll();
        // What the state before asked for is forgotten with it; not what concerns this engine and its memory.
        Interlocked.And(ref s->Attention, AttentionKick | AttentionMemory);
        _trapSuppressed = false;
        ModeChanged();
        ImportEvents(state);
        if (s->StiShadow != 0 || s->MovSsShadow != 0 || s->PendingDebug != 0 || (s->RFlags & Rflags.Rf) != 0)
            RequestStep();
        InterruptsMayBeDeliverable();
    }

    /// <summary>The page-directory-pointer registers are in use: PAE paging.</summary>
    private bool UsesPdptes => (State->Cr0 & Cr0.Pg) != 0 && (State->Cr4 & Cr4.Pae) != 0 && !LongMode;

    /// <summary>What is left out is as at reset.</summary>
    private void ImportMsrs(IReadOnlyDictionary<uint, ulong> msrs)
    {
        CpuState* s = State;
        s->Efer = msrs.GetValueOrDefault(Msr.Efer);
        s->Star = msrs.GetValueOrDefault(Msr.Star);
        s->Lstar = msrs.GetValueOrDefault(Msr.Lstar);
        s->Cstar = msrs.GetValueOrDefault(Msr.Cstar);
        s->Fmask = msrs.GetValueOrDefault(Msr.Fmask);
        s->KernelGsBase = msrs.GetValueOrDefault(Msr.KernelGsBase);
        s->TscAux = msrs.GetValueOrDefault(Msr.TscAux);
        s->SysenterCs = msrs.GetValueOrDefault(Msr.SysenterCs);
        s->SysenterEsp = msrs.GetValueOrDefault(Msr.SysenterEsp);
        s->SysenterEip = msrs.GetValueOrDefault(Msr.SysenterEip);
        s->Pat = msrs.GetValueOrDefault(Msr.Pat, PatAtReset);
        s->TscAdjust = msrs.GetValueOrDefault(Msr.TscAdjust);
        s->MiscEnable = msrs.GetValueOrDefault(Msr.MiscEnable, MiscEnableAtReset);
        s->DebugCtl = msrs.GetValueOrDefault(Msr.DebugCtl);
        s->Xss = msrs.GetValueOrDefault(Msr.Xss);
        s->SpecCtrl = msrs.GetValueOrDefault(Msr.SpecCtrl);
        _machineCheckStatus = msrs.GetValueOrDefault(Msr.McgStatus);
        for (uint i = 0; i < _machineCheckBanks.Length; i++)
            _machineCheckBanks[i] = msrs.GetValueOrDefault(Msr.Mc0Control + i);
    }

    private void ImportEvents(VcpuState state)
    {
        _injected = state.Injected;
        if (_injected != null)
            Request(AttentionInjected);
        if (state.InitPending)
            Request(AttentionInit);
        if (state.StartUpVector is { } vector)
            StartUp(vector);
    }
}
