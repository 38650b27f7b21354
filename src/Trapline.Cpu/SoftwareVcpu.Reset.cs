using Trapline.X86;

namespace Trapline.Cpu;

/// <summary>Power-on, INIT and start-up.</summary>
public sealed unsafe partial class SoftwareVcpu
{
    /// <summary>PAT at reset (SDM Vol. 3, 12.12.4).</summary>
    private const ulong PatAtReset = 0x0007_0406_0007_0406;

    /// <summary>Fast strings; no branch trace store, no precise event sampling; MONITOR if there is any.</summary>
    private ulong MiscEnableAtReset => 1 | 1ul << 11 | 1ul << 12 | (_model.Has(Feature.Monitor) ? 1ul << 18 : 0);

    private bool IsBootProcessor => Index == 0;

    public void Reset()
    {
        CpuState* s = State;
        ResetCommon(Cr0.Cd | Cr0.Nw | Cr0.Et);
        s->Xcr0 = 1;
        s->Pkru = 0;
        s->Mxcsr = 0x1F80;
        s->Fcw = 0x40;
        s->Fsw = 0;
        s->FpuTop = 0;
        s->FpuTags = 0xFF; // tag word 5555h: every register holds zero
        s->Fop = s->Fcs = s->Fds = 0;
        s->Fip = s->Fdp = 0;
        for (int i = 0; i < 16; i++)
            s->Fpr[i] = 0;
        for (int i = 0; i < 64; i++)
            s->Ymm[i] = 0;
        s->SysenterCs = s->SysenterEsp = s->SysenterEip = 0;
        s->Star = s->Lstar = s->Cstar = s->Fmask = s->KernelGsBase = 0;
        s->TscAux = s->TscAdjust = s->TscOffset = 0;
        _io.TimeStampOffsetChanged(Index, 0);
        s->Pat = PatAtReset;
        s->DebugCtl = s->Xss = s->SpecCtrl = 0;
        s->MiscEnable = MiscEnableAtReset;
        _machineCheckStatus = 0;
        Array.Clear(_machineCheckBanks);
        _activity = IsBootProcessor ? VcpuActivity.Running : VcpuActivity.WaitingForStartUp;
        Interlocked.And(ref s->Attention, AttentionKick);
        ModeChanged();
    }

    /// <summary>INIT: like reset, but caches, the FPU and most MSRs keep their contents (SDM Vol. 3, table 10-1).</summary>
    private void ResetByInit()
    {
        ResetCommon((State->Cr0 & (Cr0.Cd | Cr0.Nw)) | Cr0.Et);
        _activity = IsBootProcessor ? VcpuActivity.Running : VcpuActivity.WaitingForStartUp;
        ModeChanged();
    }

    /// <summary>Start-up IPI.</summary>
    private void BeginAt(byte vector)
    {
        CpuState* s = State;
        s->Cs.Selector = (ushort)(vector << 8);
        s->Cs.Base = (ulong)vector << 12;
        s->Rip = 0;
        _activity = VcpuActivity.Running;
        ModeChanged();
    }

    private void ResetCommon(ulong cr0)
    {
        CpuState* s = State;
        for (int i = 0; i < 17; i++)
            s->Gpr[i] = 0;
        s->Gpr[2] = _model.Signature;
        s->Rip = 0xFFF0;
        Flags.Set(s, Rflags.Fixed);
        for (int i = 0; i < 6; i++)
        {
            SegmentRegister* register = Segment(i);
            *register = new SegmentRegister { Limit = 0xFFFF, Attributes = 0x93 };
            SegmentLoaded(register);
        }
        s->Cs.Selector = 0xF000;
        s->Cs.Base = 0xFFFF_0000;
        s->Ldtr = new SegmentRegister { Limit = 0xFFFF, Attributes = 0x82 };
        s->Tr = new SegmentRegister { Limit = 0xFFFF, Attributes = 0x8B };
        s->GdtrBase = s->IdtrBase = 0;
        s->GdtrLimit = s->IdtrLimit = 0xFFFF;
        s->Cr0 = cr0;
        s->Cr2 = s->Cr3 = s->Cr4 = s->Efer = 0;
        for (int i = 0; i < 8; i++)
            s->Dr[i] = 0;
        s->Dr[6] = DebugStatus.Fixed;
        s->Dr[7] = 0x400;
        s->PendingDebug = 0;
        s->Cpl = 0;
        s->StiShadow = s->MovSsShadow = s->NmiPending = s->NmiBlocked = 0;
        _trapSuppressed = false;
        _injected = null;
        Mmu.FlushAll();
    }
}
