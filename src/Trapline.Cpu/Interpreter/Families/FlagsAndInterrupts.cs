using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>PUSHF, POPF, CLI, STI, CLAC, STAC, software interrupts, IRET, HLT.</summary>
public static unsafe class FlagsAndInterrupts
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Pushf, &BindPushFlags);
        r.Add(Mnemonic.Pushfd, &BindPushFlags);
        r.Add(Mnemonic.Pushfq, &BindPushFlags);
        r.Add(Mnemonic.Popf, &BindPopFlags);
        r.Add(Mnemonic.Popfd, &BindPopFlags);
        r.Add(Mnemonic.Popfq, &BindPopFlags);
        r.Add(Mnemonic.Cli, &BindSimple);
        r.Add(Mnemonic.Sti, &BindSimple);
        r.Add(Mnemonic.Clac, &BindSimple);
        r.Add(Mnemonic.Stac, &BindSimple);
        r.Add(Mnemonic.Hlt, &BindSimple);
        r.Add(Mnemonic.Int, &BindInterrupt);
        r.Add(Mnemonic.Int3, &BindInterrupt);
        r.Add(Mnemonic.Into, &BindInterrupt);
        r.Add(Mnemonic.Int1, &BindInterrupt);
        r.Add(Mnemonic.Iret, &BindReturn);
        r.Add(Mnemonic.Iretd, &BindReturn);
        r.Add(Mnemonic.Iretq, &BindReturn);
    }

    private static bool BindPushFlags(ref OpBuilder b)
    {
        b.Op->OperandSize = (byte)(-b.Instruction.StackPointerIncrement);
        b.Op->Run = &PushFlags;
        return true;
    }

    private static bool BindPopFlags(ref OpBuilder b)
    {
        b.EndsBlock = true;
        b.Op->OperandSize = (byte)b.Instruction.StackPointerIncrement;
        b.Op->Run = &PopFlags;
        return true;
    }

    private static bool BindSimple(ref OpBuilder b)
    {
        Mnemonic mnemonic = b.Instruction.Mnemonic;
        if (mnemonic is Mnemonic.Clac or Mnemonic.Stac && !b.Model.Has(Feature.Smap))
            return false;
        b.EndsBlock = mnemonic is Mnemonic.Sti or Mnemonic.Hlt;
        b.Op->Run = mnemonic switch
        {
            Mnemonic.Cli => &ClearInterrupts,
            Mnemonic.Sti => &SetInterrupts,
            Mnemonic.Clac => &ClearAccess,
            Mnemonic.Stac => &SetAccess,
            _ => &Halt,
        };
        return true;
    }

    private static bool BindInterrupt(ref OpBuilder b)
    {
        b.EndsBlock = true;
        switch (b.Instruction.Mnemonic)
        {
            case Mnemonic.Int:
                b.Op->Imm = b.Instruction.Immediate8;
                b.Op->Run = &Interrupt;
                break;
            case Mnemonic.Int3:
                b.Op->Run = &Breakpoint;
                break;
            case Mnemonic.Into:
                b.Op->Run = &InterruptOnOverflow;
                break;
            default:
                b.Op->Run = &DebugBreak;
                break;
        }
        return true;
    }

    private static bool BindReturn(ref OpBuilder b)
    {
        b.EndsBlock = true;
        b.Op->OperandSize = (byte)(b.Instruction.Mnemonic switch { Mnemonic.Iret => 2, Mnemonic.Iretd => 4, _ => 8 });
        b.Op->Run = &InterruptReturn;
        return true;
    }

    private static bool IoplAllows(CpuState* s) => (uint)s->Cpl <= (uint)(s->RFlags >> 12 & 3);

    private static int PushFlags(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        ulong image = Flags.Get(s) & ~(Rflags.Vm | Rflags.Rf);
        if (cpu.Virtual8086 && !IoplAllows(s))
        {
            if ((s->Cr4 & Cr4.Vme) == 0 || op->OperandSize != 2)
                return cpu.GeneralProtection();
            image = (image & ~Rflags.If) | Rflags.Iopl | ((image & Rflags.Vif) != 0 ? Rflags.If : 0);
        }
        return cpu.Push(image, op->OperandSize) ? Status.Next : Status.Fault;
    }

    private static int PopFlags(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        ulong changeable = Rflags.Arithmetic | Rflags.Tf | Rflags.Df | Rflags.Nt | Rflags.Rf;
        if (op->OperandSize != 2)
            changeable |= Rflags.Ac | Rflags.Id;
        bool extended = false;
        if (cpu.Virtual8086 && !IoplAllows(s))
        {
            if ((s->Cr4 & Cr4.Vme) == 0 || op->OperandSize != 2)
                return cpu.GeneralProtection();
            extended = true;
        }
        else
        {
            if (s->Cpl == 0)
                changeable |= Rflags.Iopl;
            if (IoplAllows(s))
                changeable |= Rflags.If;
        }
        if (!cpu.Peek(0, op->OperandSize, out ulong value))
            return Status.Fault;
        if (extended)
        {
            if ((value & Rflags.Tf) != 0 || ((value & Rflags.If) != 0 && (s->RFlags & Rflags.Vip) != 0))
                return cpu.GeneralProtection();
            s->RFlags = (value & Rflags.If) != 0 ? s->RFlags | Rflags.Vif : s->RFlags & ~Rflags.Vif;
        }
        cpu.SetStackPointer(s->Gpr[4] + op->OperandSize);
        value &= ~Rflags.Rf;
        ulong before = s->RFlags;
        Flags.Set(s, (s->RFlags & ~changeable) | (value & changeable));
        s->Rip = op->NextRip;
        ulong changed = before ^ s->RFlags;
        if ((changed & (Rflags.Ac | Rflags.Tf)) != 0 || (s->RFlags & Rflags.Tf) != 0)
            cpu.ModeChanged();
        if ((changed & s->RFlags & Rflags.If) != 0)
            cpu.InterruptsMayBeDeliverable();
        return Status.BlockEnd;
    }

    private static int ClearInterrupts(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (IoplAllows(s))
            s->RFlags &= ~Rflags.If;
        else if (VirtualInterrupts(cpu, s))
            s->RFlags &= ~Rflags.Vif;
        else
            return cpu.GeneralProtection();
        return Status.Next;
    }

    /// <summary>CR4.VME in virtual-8086 mode, CR4.PVI in ring 3: CLI and STI work on VIF (SDM Vol. 3, 20.3 and 20.4).</summary>
    private static bool VirtualInterrupts(SoftwareVcpu cpu, CpuState* s) =>
        cpu.Virtual8086 ? (s->Cr4 & Cr4.Vme) != 0 : s->Cpl == 3 && (s->Cr4 & Cr4.Pvi) != 0;

    private static int SetInterrupts(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!IoplAllows(s))
        {
            if (!VirtualInterrupts(cpu, s) || (s->RFlags & Rflags.Vip) != 0)
                return cpu.GeneralProtection();
            s->RFlags |= Rflags.Vif;
        }
        else if ((s->RFlags & Rflags.If) == 0)
        {
            s->RFlags |= Rflags.If;
            s->StiShadow = 1;
            cpu.RequestStep();
        }
        s->Rip = op->NextRip;
        return Status.BlockEnd;
    }

    private static int ClearAccess(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (s->Cpl != 0)
            return cpu.Undefined();
        s->RFlags &= ~Rflags.Ac;
        cpu.AccessControlChanged();
        return Status.Next;
    }

    private static int SetAccess(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (s->Cpl != 0)
            return cpu.Undefined();
        s->RFlags |= Rflags.Ac;
        cpu.AccessControlChanged();
        return Status.Next;
    }

    private static int Halt(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (s->Cpl != 0)
            return cpu.GeneralProtection();
        s->Rip = op->NextRip;
        return Status.Halt;
    }

    private static int Interrupt(SoftwareVcpu cpu, CpuState* s, Op* op) => cpu.SoftwareInterrupt((byte)op->Imm, op->NextRip);

    private static int Breakpoint(SoftwareVcpu cpu, CpuState* s, Op* op) => cpu.Trap(Vector.Breakpoint, op->NextRip);

    private static int InterruptOnOverflow(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (Flags.Overflow(s))
            return cpu.Trap(Vector.Overflow, op->NextRip);
        s->Rip = op->NextRip;
        return Status.BlockEnd;
    }

    private static int DebugBreak(SoftwareVcpu cpu, CpuState* s, Op* op) => cpu.DebugTrap(op->NextRip);

    private static int InterruptReturn(SoftwareVcpu cpu, CpuState* s, Op* op) => cpu.InterruptReturn(op->OperandSize, op->NextRip);
}
