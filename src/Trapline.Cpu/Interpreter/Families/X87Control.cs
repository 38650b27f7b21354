using Iced.Intel;
using Trapline.Cpu.Interpreter.Float;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>Control words, environments, whole-state saves, and the instructions that only touch tags or wait (SDM Vol. 1, 8.1.10 and 8.3.11).</summary>
public static unsafe partial class X87
{
    /// <summary>FNINIT's control word: all exceptions masked, 64-bit precision, round to nearest.</summary>
    private const ushort InitialControl = 0x37F;

    private static void RegisterControl(Binders.Registry r)
    {
        r.Add(Mnemonic.Wait, &BindWait);
        r.Add(Mnemonic.Fnop, &BindControl);
        r.Add(Mnemonic.Fninit, &BindControl);
        r.Add(Mnemonic.Fnclex, &BindControl);
        r.Add(Mnemonic.Fincstp, &BindControl);
        r.Add(Mnemonic.Fdecstp, &BindControl);
        r.Add(Mnemonic.Ffree, &BindFree);
        r.Add(Mnemonic.Ffreep, &BindFree);
        r.Add(Mnemonic.Fnstsw, &BindStoreStatus);
        r.Add(Mnemonic.Fnstcw, &BindControlWord);
        r.Add(Mnemonic.Fldcw, &BindControlWord);
        r.Add(Mnemonic.Fnstenv, &BindEnvironment);
        r.Add(Mnemonic.Fldenv, &BindEnvironment);
        r.Add(Mnemonic.Fnsave, &BindEnvironment);
        r.Add(Mnemonic.Frstor, &BindEnvironment);
        // 8087 and 287 instructions that every later chip takes as no operation.
        r.Add(Mnemonic.Fneni, &BindControl);
        r.Add(Mnemonic.Fndisi, &BindControl);
        r.Add(Mnemonic.Fnsetpm, &BindControl);
        r.Add(Mnemonic.Frstpm, &BindControl);
    }

    private static bool BindWait(ref OpBuilder b)
    {
        b.Op->Run = &Wait;
        return true;
    }

    /// <summary>FWAIT heeds CR0.TS only together with CR0.MP (SDM Vol. 3, 2.5, table 2-1).</summary>
    private static int Wait(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if ((s->Cr0 & (Cr0.Mp | Cr0.Ts)) == (Cr0.Mp | Cr0.Ts))
            return cpu.Fault(Vector.DeviceNotAvailable);
        return NothingPending(cpu, s) ? Status.Next : Status.Fault;
    }

    private static bool BindControl(ref OpBuilder b)
    {
        b.Op->Run = b.Instruction.Mnemonic switch
        {
            Mnemonic.Fninit => &Initialize,
            Mnemonic.Fnclex => &ClearExceptions,
            Mnemonic.Fincstp => &IncrementTop,
            Mnemonic.Fdecstp => &DecrementTop,
            Mnemonic.Fnop => &NoOperation,
            _ => &NoOperationWithoutWait,
        };
        return true;
    }

    private static int NoOperation(SoftwareVcpu cpu, CpuState* s, Op* op) => Begin(cpu, s) ? Status.Next : Status.Fault;

    private static int NoOperationWithoutWait(SoftwareVcpu cpu, CpuState* s, Op* op) => BeginWithoutWait(cpu, s) ? Status.Next : Status.Fault;

    private static int Initialize(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!BeginWithoutWait(cpu, s))
            return Status.Fault;
        Initialize(s);
        return Status.Next;
    }

    /// <summary>FNINIT: registers keep their bits but are empty.</summary>
    internal static void Initialize(CpuState* s)
    {
        s->Fcw = InitialControl;
        s->Fsw = 0;
        s->FpuTop = 0;
        s->FpuTags = 0;
        s->Fop = 0;
        s->Fip = 0;
        s->Fdp = 0;
        s->Fcs = 0;
        s->Fds = 0;
    }

    private static int ClearExceptions(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!BeginWithoutWait(cpu, s))
            return Status.Fault;
        s->Fsw &= Conditions;
        return Status.Next;
    }

    private static int IncrementTop(SoftwareVcpu cpu, CpuState* s, Op* op) => MoveTop(cpu, s, op, 1);

    private static int DecrementTop(SoftwareVcpu cpu, CpuState* s, Op* op) => MoveTop(cpu, s, op, 7);

    private static int MoveTop(SoftwareVcpu cpu, CpuState* s, Op* op, int by)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        s->FpuTop = (byte)((s->FpuTop + by) & 7);
        s->Fsw &= unchecked((ushort)~C1);
        return Status.Next;
    }

    private static bool BindFree(ref OpBuilder b)
    {
        b.Op->Src = Number(ref b, 0);
        b.Op->Run = b.Instruction.Mnemonic == Mnemonic.Ffree ? &Free : &FreeAndPop;
        return true;
    }

    private static int Free(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        s->FpuTags &= (byte)~(1 << Physical(s, op->Src));
        s->Fsw &= unchecked((ushort)~C1);
        return Status.Next;
    }

    private static int FreeAndPop(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (Free(cpu, s, op) == Status.Fault)
            return Status.Fault;
        Pop(s);
        return Status.Next;
    }

    private static ushort StatusWord(CpuState* s) => (ushort)((s->Fsw & ~0x3800) | s->FpuTop << 11);

    private static void SetStatusWord(CpuState* s, ushort value)
    {
        s->FpuTop = (byte)(value >> 11 & 7);
        s->Fsw = (ushort)(value & ~0x3800);
        UpdateSummary(s);
    }

    private static void SetControlWord(CpuState* s, ushort value)
    {
        s->Fcw = (ushort)((value & ControlDefined) | ControlFixed);
        UpdateSummary(s);
    }

    private static bool BindStoreStatus(ref OpBuilder b)
    {
        Prepare(ref b);
        b.Op->Run = b.IsMemory(0) ? &StoreStatus : &StoreStatusAx;
        return true;
    }

    private static int StoreStatusAx(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!BeginWithoutWait(cpu, s))
            return Status.Fault;
        *(ushort*)s->Gpr = StatusWord(s);
        return Status.Next;
    }

    private static int StoreStatus(SoftwareVcpu cpu, CpuState* s, Op* op) =>
        BeginWithoutWait(cpu, s) && Store(cpu, s, op, 2, StatusWord(s), 0) ? Status.Next : Status.Fault;

    private static bool BindControlWord(ref OpBuilder b)
    {
        Prepare(ref b);
        b.Op->Run = b.Instruction.Mnemonic == Mnemonic.Fldcw ? &LoadControl : &StoreControl;
        return true;
    }

    private static int StoreControl(SoftwareVcpu cpu, CpuState* s, Op* op) =>
        BeginWithoutWait(cpu, s) && Store(cpu, s, op, 2, s->Fcw, 0) ? Status.Next : Status.Fault;

    private static int LoadControl(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Begin(cpu, s) || !Address(cpu, s, op, 2, write: false, out ulong linear) || !GuestAccess.Load<W16>(cpu, s, op, linear, out ulong value))
            return Status.Fault;
        SetControlWord(s, (ushort)value);
        return Status.Next;
    }

    /// <summary>
    /// FNSTENV, FLDENV, FNSAVE, FRSTOR: the image is 14 or 28 bytes (with registers 94 or 108) by operand size. Src is 1 for the 32-bit image.
    /// </summary>
    private static bool BindEnvironment(ref OpBuilder b)
    {
        Prepare(ref b);
        b.Op->Src = b.Instruction.MemorySize is MemorySize.FpuEnv28 or MemorySize.FpuState108 ? (ushort)1 : (ushort)0;
        b.Op->Run = b.Instruction.Mnemonic switch
        {
            Mnemonic.Fnstenv => &StoreEnvironment,
            Mnemonic.Fldenv => &LoadEnvironment,
            Mnemonic.Fnsave => &Save,
            _ => &Restore,
        };
        return true;
    }

    private static bool IsRealOrVirtual(CpuState* s) => (s->Cr0 & Cr0.Pe) == 0 || (s->RFlags & Rflags.Vm) != 0;

    private static int EnvironmentSize(Op* op) => op->Src != 0 ? 28 : 14;

    private static int StoreEnvironment(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        byte* image = stackalloc byte[28];
        int size = EnvironmentSize(op);
        if (!BeginWithoutWait(cpu, s) || !Address(cpu, s, op, size, write: true, out ulong linear))
            return Status.Fault;
        WriteEnvironment(s, image, op->Src != 0);
        if (!cpu.TransferSlow(linear, image, size, op->Segment, store: true))
            return Status.Fault;
        // Every exception is masked after FNSTENV, so none is pending.
        s->Fcw |= (ushort)FloatExceptions.All;
        UpdateSummary(s);
        return Status.Next;
    }

    private static int LoadEnvironment(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        byte* image = stackalloc byte[28];
        int size = EnvironmentSize(op);
        if (!Begin(cpu, s) || !Address(cpu, s, op, size, write: false, out ulong linear)
            || !cpu.TransferSlow(linear, image, size, op->Segment, store: false))
            return Status.Fault;
        ReadEnvironment(s, image, op->Src != 0);
        return Status.Next;
    }

    private static int Save(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        byte* image = stackalloc byte[108];
        int size = EnvironmentSize(op);
        if (!BeginWithoutWait(cpu, s) || !Address(cpu, s, op, size + 80, write: true, out ulong linear))
            return Status.Fault;
        WriteEnvironment(s, image, op->Src != 0);
        for (int i = 0; i < 8; i++)
        {
            F80 value = Get(s, i);
            *(ulong*)(image + size + i * 10) = value.Significand;
            *(ushort*)(image + size + i * 10 + 8) = value.SignExponent;
        }
        if (!cpu.Probe(linear, size + 80, op->Segment, write: true)
            || !cpu.TransferSlow(linear, image, 64, op->Segment, store: true)
            || !cpu.TransferSlow(Second(s, linear), image + 64, size + 80 - 64, op->Segment, store: true))
            return Status.Fault;
        Initialize(s);
        return Status.Next;
    }

    private static int Restore(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        byte* image = stackalloc byte[108];
        int size = EnvironmentSize(op);
        if (!Begin(cpu, s) || !Address(cpu, s, op, size + 80, write: false, out ulong linear)
            || !cpu.TransferSlow(linear, image, 64, op->Segment, store: false)
            || !cpu.TransferSlow(Second(s, linear), image + 64, size + 80 - 64, op->Segment, store: false))
            return Status.Fault;
        ReadEnvironment(s, image, op->Src != 0);
        byte tags = s->FpuTags;
        for (int i = 0; i < 8; i++)
            Set(s, i, new F80(*(ushort*)(image + size + i * 10 + 8), *(ulong*)(image + size + i * 10)));
        s->FpuTags = tags;
        return Status.Next;
    }

    /// <summary>Where the second part of a long image goes: addresses wrap outside 64-bit code.</summary>
    private static ulong Second(CpuState* s, ulong linear) => s->Is64 != 0 ? linear + 64 : (uint)(linear + 64);

    /// <summary>The environment in the format that operand size and mode choose (SDM Vol. 1, figures 8-9 to 8-12).</summary>
    private static void WriteEnvironment(CpuState* s, byte* image, bool wide)
    {
        ushort tags = TagWord(s);
        bool real = IsRealOrVirtual(s);
        // In real mode the pointers are linear addresses.
        uint ip = (uint)(real ? s->Fip + ((ulong)s->Fcs << 4) : s->Fip);
        uint dp = (uint)(real ? s->Fdp + ((ulong)s->Fds << 4) : s->Fdp);
        if (wide)
        {
            uint* words = (uint*)image;
            words[0] = 0xFFFF_0000u | s->Fcw;
            words[1] = 0xFFFF_0000u | StatusWord(s);
            words[2] = 0xFFFF_0000u | tags;
            if (real)
            {
                words[3] = 0xFFFF_0000u | (ushort)ip;
                words[4] = (ip >> 16) << 12 | (s->Fop & 0x7FFu);
                words[5] = 0xFFFF_0000u | (ushort)dp;
                words[6] = (dp >> 16) << 12;
            }
            else
            {
                words[3] = ip;
                words[4] = (s->Fop & 0x7FFu) << 16 | s->Fcs;
                words[5] = dp;
                words[6] = 0xFFFF_0000u | s->Fds;
            }
            return;
        }
        ushort* halves = (ushort*)image;
        halves[0] = s->Fcw;
        halves[1] = StatusWord(s);
        halves[2] = tags;
        halves[3] = (ushort)ip;
        halves[5] = (ushort)dp;
        halves[4] = real ? (ushort)((ip >> 16) << 12 | (s->Fop & 0x7FFu)) : s->Fcs;
        halves[6] = real ? (ushort)((dp >> 16) << 12) : s->Fds;
    }

    private static void ReadEnvironment(CpuState* s, byte* image, bool wide)
    {
        bool real = IsRealOrVirtual(s);
        ushort control, status, tags;
        if (wide)
        {
            uint* words = (uint*)image;
            control = (ushort)words[0];
            status = (ushort)words[1];
            tags = (ushort)words[2];
            if (real)
            {
                s->Fip = (ushort)words[3] | (words[4] & 0x0FFF_F000) << 4;
                s->Fop = (ushort)(words[4] & 0x7FF);
                s->Fdp = (ushort)words[5] | (words[6] & 0x0FFF_F000) << 4;
                s->Fcs = s->Fds = 0;
            }
            else
            {
                s->Fip = words[3];
                s->Fcs = (ushort)words[4];
                s->Fop = (ushort)(words[4] >> 16 & 0x7FF);
                s->Fdp = words[5];
                s->Fds = (ushort)words[6];
            }
        }
        else
        {
            ushort* halves = (ushort*)image;
            control = halves[0];
            status = halves[1];
            tags = halves[2];
            s->Fip = halves[3];
            s->Fdp = halves[5];
            s->Fcs = s->Fds = 0;
            if (real)
            {
                s->Fip |= (halves[4] & 0xF000u) << 4;
                s->Fop = (ushort)(halves[4] & 0x7FF);
                s->Fdp |= (halves[6] & 0xF000u) << 4;
            }
            else
            {
                s->Fcs = halves[4];
                s->Fds = halves[6];
                s->Fop = 0;
            }
        }
        s->FpuTags = 0;
        for (int i = 0; i < 8; i++)
            if ((tags >> (2 * i) & 3) != 3)
                s->FpuTags |= (byte)(1 << i);
        SetStatusWord(s, status);
        SetControlWord(s, control);
    }

    /// <summary>The full tag word, two bits a register: 0 valid, 1 zero, 2 special, 3 empty (SDM Vol. 1, 8.1.7).</summary>
    internal static ushort TagWord(CpuState* s)
    {
        uint tags = 0;
        for (int i = 0; i < 8; i++)
        {
            uint tag = 3;
            if ((s->FpuTags >> i & 1) != 0)
            {
                tag = new F80((ushort)s->Fpr[i * 2 + 1], s->Fpr[i * 2]).Class switch
                {
                    F80Class.Normal => 0,
                    F80Class.Zero => 1,
                    _ => 2,
                };
            }
            tags |= tag << (2 * i);
        }
        return (ushort)tags;
    }
}
