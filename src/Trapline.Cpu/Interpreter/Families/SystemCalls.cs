using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>SYSCALL, SYSRET, SYSENTER, SYSEXIT.</summary>
public static unsafe class SystemCalls
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Syscall, &Bind);
        r.Add(Mnemonic.Sysret, &Bind);
        r.Add(Mnemonic.Sysretq, &Bind);
        r.Add(Mnemonic.Sysenter, &Bind);
        r.Add(Mnemonic.Sysexit, &Bind);
        r.Add(Mnemonic.Sysexitq, &Bind);
    }

    private static bool Bind(ref OpBuilder b)
    {
        b.EndsBlock = true;
        Mnemonic mnemonic = b.Instruction.Mnemonic;
        bool fast = mnemonic is Mnemonic.Syscall or Mnemonic.Sysret or Mnemonic.Sysretq;
        if (!b.Model.Has(fast ? Feature.Syscall : Feature.Sep))
            return false;
        // Intel processors know SYSCALL and SYSRET in 64-bit code only; AMD's know SYSENTER and SYSEXIT outside long mode only.
        if (fast && !b.Is64 && !b.Model.Has(Feature.Syscall32))
            return false;
        b.Op->OperandSize = (byte)(mnemonic is Mnemonic.Sysretq or Mnemonic.Sysexitq ? 8 : 4);
        b.Op->Run = mnemonic switch
        {
            Mnemonic.Syscall => &Call,
            Mnemonic.Sysret or Mnemonic.Sysretq => &Return,
            Mnemonic.Sysenter => &Enter,
            _ => &Exit,
        };
        return true;
    }

    private const uint Code = SegmentAttributes.Present | SegmentAttributes.NotSystem | SegmentAttributes.Code | SegmentAttributes.Writable
        | SegmentAttributes.Accessed | SegmentAttributes.Granular;
    private const uint Data = SegmentAttributes.Present | SegmentAttributes.NotSystem | SegmentAttributes.Writable | SegmentAttributes.Accessed
        | SegmentAttributes.Granular | SegmentAttributes.Big;

    /// <summary>Loads CS and SS with the fixed flat descriptors of these instructions; no table is read.</summary>
    private static void LoadFlat(CpuState* s, int cpl, uint code, uint stack, bool wide)
    {
        uint dpl = (uint)cpl << SegmentAttributes.DplShift;
        s->Cs = new SegmentRegister
        {
            Selector = (ushort)code, Limit = uint.MaxValue, Attributes = Code | dpl | (wide ? SegmentAttributes.Long : SegmentAttributes.Big),
        };
        s->Ss = new SegmentRegister { Selector = (ushort)stack, Limit = uint.MaxValue, Attributes = Data | dpl };
        SoftwareVcpu.SegmentLoaded(&s->Cs);
        SoftwareVcpu.SegmentLoaded(&s->Ss);
        s->Cpl = cpl;
    }

    private static int Call(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if ((s->Efer & Efer.Sce) == 0)
            return cpu.Undefined();
        uint code = (uint)(s->Star >> 32) & 0xFFFC;
        if (!cpu.LongMode)
        {
            // AMD's legacy form: target in STAR's low half; only IF, VM and RF are cleared.
            if (!cpu.Protected)
                return cpu.Undefined();
            s->Gpr[1] = (uint)op->NextRip;
            s->Rip = (uint)s->Star;
            s->RFlags &= ~(Rflags.If | Rflags.Vm | Rflags.Rf);
            LoadFlat(s, 0, code, code + 8, wide: false);
        }
        else
        {
            s->Gpr[1] = op->NextRip;
            s->Gpr[11] = Flags.Get(s) & ~Rflags.Rf;
            s->Rip = s->Is64 != 0 ? s->Lstar : s->Cstar;
            Flags.Set(s, Flags.Get(s) & ~(s->Fmask | Rflags.Rf));
            LoadFlat(s, 0, code, code + 8, wide: true);
        }
        cpu.ModeChanged();
        TrapByFinalFlags(cpu, s);
        return Status.BlockEnd;
    }

    private static int Return(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if ((s->Efer & Efer.Sce) == 0)
            return cpu.Undefined();
        if (s->Cpl != 0)
            return cpu.GeneralProtection();
        uint selectors = (uint)(s->Star >> 48);
        bool wide = op->OperandSize == 8;
        if (wide && !SoftwareVcpu.IsCanonical(s->Gpr[1]))
            return cpu.GeneralProtection();
        uint code = (selectors + (wide ? 16u : 0)) | 3, stack = (selectors + 8) | 3;
        if (cpu.LongMode)
            Flags.Set(s, s->Gpr[11] & 0x3C_7FD7);
        else
            s->RFlags |= Rflags.If;
        s->Rip = wide ? s->Gpr[1] : (uint)s->Gpr[1];
        LoadFlat(s, 3, code, stack, wide);
        DropBreakpointResume(cpu, s);
        cpu.ModeChanged();
        TrapByFinalFlags(cpu, s);
        cpu.InterruptsMayBeDeliverable();
        return Status.BlockEnd;
    }

    /// <summary>After these two it is TF at their end that decides about a single-step trap (SDM Vol. 2, SYSCALL and SYSRET).</summary>
    private static void TrapByFinalFlags(SoftwareVcpu cpu, CpuState* s)
    {
        cpu._trapSuppressed = true;
        if ((s->RFlags & Rflags.Tf) == 0)
            return;
        s->PendingDebug |= DebugStatus.SingleStep;
        cpu.RequestStep();
    }

    /// <summary>RF matters only where breakpoints or single steps look at it.</summary>
    private static void DropBreakpointResume(SoftwareVcpu cpu, CpuState* s) => cpu.LoadFlags(s->RFlags, Rflags.Rf);

    private static int Enter(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        uint code = (uint)s->SysenterCs & 0xFFFC;
        if (!cpu.Model.IsIntel && cpu.LongMode)
            return cpu.Undefined();
        if (!cpu.Protected || code == 0)
            return cpu.GeneralProtection();
        bool wide = cpu.LongMode;
        s->RFlags &= ~(Rflags.Vm | Rflags.If | Rflags.Rf);
        s->Gpr[4] = wide ? s->SysenterEsp : (uint)s->SysenterEsp;
        s->Rip = wide ? s->SysenterEip : (uint)s->SysenterEip;
        LoadFlat(s, 0, code, code + 8, wide);
        cpu.ModeChanged();
        return Status.BlockEnd;
    }

    private static int Exit(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!cpu.Model.IsIntel && cpu.LongMode)
            return cpu.Undefined();
        if (!cpu.Protected || ((uint)s->SysenterCs & 0xFFFC) == 0 || s->Cpl != 0)
            return cpu.GeneralProtection();
        bool wide = op->OperandSize == 8;
        if (wide && !(SoftwareVcpu.IsCanonical(s->Gpr[1]) && SoftwareVcpu.IsCanonical(s->Gpr[2])))
            return cpu.GeneralProtection();
        uint code = ((uint)s->SysenterCs + (wide ? 32u : 16u)) | 3;
        s->Gpr[4] = wide ? s->Gpr[1] : (uint)s->Gpr[1];
        s->Rip = wide ? s->Gpr[2] : (uint)s->Gpr[2];
        LoadFlat(s, 3, code, code + 8, wide);
        cpu.ModeChanged();
        return Status.BlockEnd;
    }
}
