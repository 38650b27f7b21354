using System.Buffers.Binary;
using Trapline.X86;

namespace Trapline.Cpu;

/// <summary>Reset, INIT and the exchange of the architectural state with other engines.</summary>
public sealed unsafe partial class SoftwareVcpu
{
    /// <summary>MSRs that travel in <see cref="VcpuState.Msrs"/>.</summary>
    private static readonly uint[] OwnedMsrs =
    [
        Msr.Efer, Msr.Star, Msr.Lstar, Msr.Cstar, Msr.Fmask, Msr.KernelGsBase, Msr.TscAux, Msr.SysenterCs, Msr.SysenterEsp, Msr.SysenterEip,
        Msr.Pat, Msr.TscAdjust, Msr.MiscEnable, Msr.DebugCtl, Msr.Xss, Msr.SpecCtrl,
    ];

    /// <summary>x87, SSE header and AVX of the standard XSAVE layout.</summary>
    private const int XsaveSize = 512 + 64 + 256;

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
        s->Pat = 0x0007_0406_0007_0406;
        s->DebugCtl = s->Xss = s->SpecCtrl = 0;
        s->MiscEnable = 1 | 1ul << 11 | 1ul << 12 | (_model.Has(Feature.Monitor) ? 1ul << 18 : 0);
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
        Mmu.FlushAll();
    }

    public VcpuState Export()
    {
        CpuState* s = State;
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
        foreach (uint index in OwnedMsrs)
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
            Msrs = msrs,
            Xsave = ExportXsave(),
            Activity = _activity,
            StiShadow = s->StiShadow != 0,
            MovSsShadow = s->MovSsShadow != 0,
            NmiPending = s->NmiPending != 0 || (Volatile.Read(ref s->Attention) & AttentionNmi) != 0,
            NmiBlocked = s->NmiBlocked != 0,
            PendingDebug = s->PendingDebug,
            TimeStampCounter = TimeStampCounter,
        };
    }

    public void Import(VcpuState state)
    {
        Validate(state);
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
        s->Efer = state.Msrs.GetValueOrDefault(Msr.Efer);
        s->Xcr0 = state.Xcr0;
        s->Pkru = state.Pkru;
        s->Star = state.Msrs.GetValueOrDefault(Msr.Star);
        s->Lstar = state.Msrs.GetValueOrDefault(Msr.Lstar);
        s->Cstar = state.Msrs.GetValueOrDefault(Msr.Cstar);
        s->Fmask = state.Msrs.GetValueOrDefault(Msr.Fmask);
        s->KernelGsBase = state.Msrs.GetValueOrDefault(Msr.KernelGsBase);
        s->TscAux = state.Msrs.GetValueOrDefault(Msr.TscAux);
        s->SysenterCs = state.Msrs.GetValueOrDefault(Msr.SysenterCs);
        s->SysenterEsp = state.Msrs.GetValueOrDefault(Msr.SysenterEsp);
        s->SysenterEip = state.Msrs.GetValueOrDefault(Msr.SysenterEip);
        s->Pat = state.Msrs.GetValueOrDefault(Msr.Pat, 0x0007_0406_0007_0406ul);
        s->TscAdjust = state.Msrs.GetValueOrDefault(Msr.TscAdjust);
        s->MiscEnable = state.Msrs.GetValueOrDefault(Msr.MiscEnable, s->MiscEnable);
        s->DebugCtl = state.Msrs.GetValueOrDefault(Msr.DebugCtl);
        s->Xss = state.Msrs.GetValueOrDefault(Msr.Xss);
        s->SpecCtrl = state.Msrs.GetValueOrDefault(Msr.SpecCtrl);
        for (int i = 0; i < 4; i++)
            s->Dr[i] = state.Debug[i];
        s->Dr[6] = state.Debug[4] | DebugStatus.Fixed;
        s->Dr[7] = state.Debug[5] | 0x400;
        ImportXsave(state.Xsave);
        _activity = state.Activity;
        s->StiShadow = (byte)(state.StiShadow ? 1 : 0);
        s->MovSsShadow = (byte)(state.MovSsShadow ? 1 : 0);
        s->NmiPending = (byte)(state.NmiPending ? 1 : 0);
        s->NmiBlocked = (byte)(state.NmiBlocked ? 1 : 0);
        s->PendingDebug = state.PendingDebug;
        s->TscOffset = state.TimeStampCounter - _io.TimeStampCounter;
        _io.WriteCr8(Index, (byte)state.Cr8);
        bool isProtected = (state.Cr0 & Cr0.Pe) != 0;
        s->Cpl = !isProtected ? 0 : (state.Rflags & Rflags.Vm) != 0 ? 3
            : (int)((state.Segments[SegmentIndex.Ss].Attributes & SegmentAttributes.DplMask) >> SegmentAttributes.DplShift);
        if ((s->Cr0 & Cr0.Pg) != 0 && (s->Cr4 & Cr4.Pae) != 0 && (s->Efer & Efer.Lma) == 0)
            Mmu.Walker.TryLoadPdptes(s->Cr3);
        Mmu.FlushAll();
        ModeChanged();
        if (s->StiShadow != 0 || s->MovSsShadow != 0 || s->PendingDebug != 0 || (s->RFlags & Rflags.Rf) != 0)
            RequestStep();
        InterruptsMayBeDeliverable();
    }

    private void Validate(VcpuState state)
    {
        Require(state.General.Length == 16, "a vCPU has 16 general registers");
        Require(state.Segments.Length == 8, "a vCPU has 8 segment registers (ES, CS, SS, DS, FS, GS, LDTR, TR)");
        Require(state.Debug.Length == 6, "a vCPU has 6 debug registers (DR0 to DR3, DR6, DR7)");
        Require(state.Xsave.Length == 0 || state.Xsave.Length >= XsaveSize, $"the XSAVE image needs {XsaveSize} bytes");
        Require((state.Cr0 & Cr0.Pg) == 0 || (state.Cr0 & Cr0.Pe) != 0, "CR0.PG needs CR0.PE");
        Require(state.Cr0 >> 32 == 0, "CR0 has 32 bits");
        Require((state.Cr4 & ~Cr4Allowed()) == 0, $"CR4 {state.Cr4:X} has bits that model {_model.Name} lacks");
        Require((state.Xcr0 & ~Xcr0Allowed) == 0 && (state.Xcr0 & 1) != 0, $"XCR0 {state.Xcr0:X} is impossible for model {_model.Name}");
        ulong efer = state.Msrs.GetValueOrDefault(Msr.Efer);
        Require((efer & ~Efer.Defined) == 0, "EFER has reserved bits");
        bool longMode = (efer & Efer.Lma) != 0;
        Require(longMode == ((efer & Efer.Lme) != 0 && (state.Cr0 & Cr0.Pg) != 0), "EFER.LMA must follow from EFER.LME and CR0.PG");
        Require(!longMode || (state.Cr4 & Cr4.Pae) != 0, "long mode needs CR4.PAE");
        Require(!longMode || _model.Has(Feature.Lm), $"model {_model.Name} has no long mode");
        Require((state.Cr4 & Cr4.Pcide) == 0 || longMode, "CR4.PCIDE needs long mode");
        Require(!longMode || (state.Rflags & Rflags.Vm) == 0, "virtual-8086 mode does not exist in long mode");
        Require(state.Cr8 < 16, "CR8 has 4 bits");

        static void Require(bool holds, string message)
        {
            if (!holds)
                throw new ArgumentException(message, nameof(state));
        }
    }

    /// <summary>The standard (uncompacted) XSAVE image: x87, SSE, AVX (SDM Vol. 1, 13.4).</summary>
    private byte[] ExportXsave()
    {
        CpuState* s = State;
        byte[] image = new byte[XsaveSize];
        Span<byte> to = image;
        BinaryPrimitives.WriteUInt16LittleEndian(to, s->Fcw);
        BinaryPrimitives.WriteUInt16LittleEndian(to[2..], (ushort)((s->Fsw & ~0x3800) | (s->FpuTop << 11)));
        to[4] = s->FpuTags;
        BinaryPrimitives.WriteUInt16LittleEndian(to[6..], s->Fop);
        BinaryPrimitives.WriteUInt64LittleEndian(to[8..], s->Fip);
        BinaryPrimitives.WriteUInt64LittleEndian(to[16..], s->Fdp);
        BinaryPrimitives.WriteUInt32LittleEndian(to[24..], s->Mxcsr);
        BinaryPrimitives.WriteUInt32LittleEndian(to[28..], 0xFFFF);
        for (int i = 0; i < 8; i++)
        {
            int physical = (s->FpuTop + i) & 7;
            BinaryPrimitives.WriteUInt64LittleEndian(to[(32 + i * 16)..], s->Fpr[physical * 2]);
            BinaryPrimitives.WriteUInt16LittleEndian(to[(40 + i * 16)..], (ushort)s->Fpr[physical * 2 + 1]);
        }
        for (int i = 0; i < 16; i++)
            for (int half = 0; half < 2; half++)
            {
                BinaryPrimitives.WriteUInt64LittleEndian(to[(160 + i * 16 + half * 8)..], s->Ymm[i * 4 + half]);
                BinaryPrimitives.WriteUInt64LittleEndian(to[(576 + i * 16 + half * 8)..], s->Ymm[i * 4 + 2 + half]);
            }
        BinaryPrimitives.WriteUInt64LittleEndian(to[512..], 7); // XSTATE_BV
        return image;
    }

    private void ImportXsave(ReadOnlySpan<byte> from)
    {
        if (from.IsEmpty)
            return;
        CpuState* s = State;
        ulong present = BinaryPrimitives.ReadUInt64LittleEndian(from[512..]);
        bool x87 = (present & 1) != 0, sse = (present & 2) != 0, avx = (present & 4) != 0;
        ushort fsw = x87 ? BinaryPrimitives.ReadUInt16LittleEndian(from[2..]) : (ushort)0;
        s->Fcw = x87 ? BinaryPrimitives.ReadUInt16LittleEndian(from) : (ushort)0x37F;
        s->FpuTop = (byte)((fsw >> 11) & 7);
        s->Fsw = (ushort)(fsw & ~0x3800);
        s->FpuTags = x87 ? from[4] : (byte)0;
        s->Fop = x87 ? BinaryPrimitives.ReadUInt16LittleEndian(from[6..]) : (ushort)0;
        s->Fip = x87 ? BinaryPrimitives.ReadUInt64LittleEndian(from[8..]) : 0;
        s->Fdp = x87 ? BinaryPrimitives.ReadUInt64LittleEndian(from[16..]) : 0;
        s->Mxcsr = BinaryPrimitives.ReadUInt32LittleEndian(from[24..]) & 0xFFFF;
        for (int i = 0; i < 8; i++)
        {
            int physical = (s->FpuTop + i) & 7;
            s->Fpr[physical * 2] = x87 ? BinaryPrimitives.ReadUInt64LittleEndian(from[(32 + i * 16)..]) : 0;
            s->Fpr[physical * 2 + 1] = x87 ? BinaryPrimitives.ReadUInt16LittleEndian(from[(40 + i * 16)..]) : 0u;
        }
        for (int i = 0; i < 16; i++)
            for (int half = 0; half < 2; half++)
            {
                s->Ymm[i * 4 + half] = sse ? BinaryPrimitives.ReadUInt64LittleEndian(from[(160 + i * 16 + half * 8)..]) : 0;
                s->Ymm[i * 4 + 2 + half] = avx ? BinaryPrimitives.ReadUInt64LittleEndian(from[(576 + i * 16 + half * 8)..]) : 0;
            }
    }
}
