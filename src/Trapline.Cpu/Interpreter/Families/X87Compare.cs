using Iced.Intel;
using Trapline.Cpu.Interpreter.Float;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>Comparisons and FXAM (SDM Vol. 1, 8.3.6).</summary>
public static unsafe partial class X87
{
    private static void RegisterCompares(Binders.Registry r)
    {
        r.Add(Mnemonic.Fcom, &BindCompare);
        r.Add(Mnemonic.Fcomp, &BindCompare);
        r.Add(Mnemonic.Fcompp, &BindCompare);
        r.Add(Mnemonic.Fucom, &BindCompare);
        r.Add(Mnemonic.Fucomp, &BindCompare);
        r.Add(Mnemonic.Fucompp, &BindCompare);
        r.Add(Mnemonic.Ficom, &BindCompare);
        r.Add(Mnemonic.Ficomp, &BindCompare);
        r.Add(Mnemonic.Fcomi, &BindCompareFlags);
        r.Add(Mnemonic.Fcomip, &BindCompareFlags);
        r.Add(Mnemonic.Fucomi, &BindCompareFlags);
        r.Add(Mnemonic.Fucomip, &BindCompareFlags);
        r.Add(Mnemonic.Ftst, &BindTest);
        r.Add(Mnemonic.Fxam, &BindExamine);
    }

    /// <summary>Dst is how many times the stack pops.</summary>
    private static bool BindCompare(ref OpBuilder b)
    {
        Prepare(ref b);
        Mnemonic m = b.Instruction.Mnemonic;
        b.Op->Dst = m switch
        {
            Mnemonic.Fcompp or Mnemonic.Fucompp => 2,
            Mnemonic.Fcomp or Mnemonic.Fucomp or Mnemonic.Ficomp => 1,
            _ => 0,
        };
        if (b.Instruction.OpCount > 0 && b.IsMemory(0))
        {
            b.Op->Run = m is Mnemonic.Ficom or Mnemonic.Ficomp ? &CompareInteger : b.Op->OperandSize == 4 ? &CompareSingle : &CompareDouble;
            return true;
        }
        b.Op->Src = b.Instruction.OpCount == 2 ? Number(ref b, 1) : (ushort)1;
        b.Op->Run = m is Mnemonic.Fucom or Mnemonic.Fucomp or Mnemonic.Fucompp ? &CompareUnordered : &CompareOrdered;
        return true;
    }

    private static int CompareOrdered(SoftwareVcpu cpu, CpuState* s, Op* op) => CompareRegister(cpu, s, op, signalQuiet: true);

    private static int CompareUnordered(SoftwareVcpu cpu, CpuState* s, Op* op) => CompareRegister(cpu, s, op, signalQuiet: false);

    private static int CompareRegister(SoftwareVcpu cpu, CpuState* s, Op* op, bool signalQuiet)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        Note(s, op);
        if (IsEmpty(s, 0) || IsEmpty(s, op->Src))
            return CompareEmpty(s, op);
        FloatStatus status = NewStatus(s);
        return FinishCompare(s, op, F80.Compare(Get(s, 0), Get(s, op->Src), signalQuiet, ref status), status);
    }

    private static int CompareSingle(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!BeginLoad(cpu, s, op, 4, out ulong bits))
            return Status.Fault;
        FloatStatus status = NewStatus(s);
        return CompareMemory(s, op, F80.OperandF32((uint)bits, ref status), ref status);
    }

    private static int CompareDouble(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!BeginLoad(cpu, s, op, 8, out ulong bits))
            return Status.Fault;
        FloatStatus status = NewStatus(s);
        return CompareMemory(s, op, F80.OperandF64(bits, ref status), ref status);
    }

    private static int CompareInteger(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!BeginLoad(cpu, s, op, op->OperandSize, out ulong bits))
            return Status.Fault;
        FloatStatus status = NewStatus(s);
        return CompareMemory(s, op, F80.FromInt64(Signed(bits, op->OperandSize)), ref status);
    }

    private static int CompareMemory(CpuState* s, Op* op, F80 operand, ref FloatStatus status) => IsEmpty(s, 0)
        ? CompareEmpty(s, op)
        : FinishCompare(s, op, F80.Compare(Get(s, 0), operand, true, ref status), status);

    /// <summary>An empty register compares unordered.</summary>
    private static int CompareEmpty(CpuState* s, Op* op)
    {
        bool masked = RaiseStackFault(s, overflow: false);
        s->Fsw |= C0 | C2 | C3;
        if (masked)
            PopTimes(s, op->Dst);
        return Status.Next;
    }

    private static int FinishCompare(CpuState* s, Op* op, FloatRelation relation, in FloatStatus status)
    {
        bool go = Commit(s, status);
        SetRelation(s, relation);
        if (go)
            PopTimes(s, op->Dst);
        return Status.Next;
    }

    private static void SetRelation(CpuState* s, FloatRelation relation) => s->Fsw = (ushort)((s->Fsw & ~Conditions) | relation switch
    {
        FloatRelation.Less => C0,
        FloatRelation.Equal => C3,
        FloatRelation.Greater => 0,
        _ => C0 | C2 | C3,
    });

    private static void PopTimes(CpuState* s, int times)
    {
        for (int i = 0; i < times; i++)
            Pop(s);
    }

    private static bool BindCompareFlags(ref OpBuilder b)
    {
        if (!b.Model.Has(Feature.Cmov))
            return false;
        Prepare(ref b);
        Mnemonic m = b.Instruction.Mnemonic;
        b.Op->Src = Number(ref b, 1);
        b.Op->Dst = m is Mnemonic.Fcomip or Mnemonic.Fucomip ? (ushort)1 : (ushort)0;
        b.Op->Run = m is Mnemonic.Fucomi or Mnemonic.Fucomip ? &CompareFlagsUnordered : &CompareFlagsOrdered;
        return true;
    }

    private static int CompareFlagsOrdered(SoftwareVcpu cpu, CpuState* s, Op* op) => CompareFlags(cpu, s, op, signalQuiet: true);

    private static int CompareFlagsUnordered(SoftwareVcpu cpu, CpuState* s, Op* op) => CompareFlags(cpu, s, op, signalQuiet: false);

    private static int CompareFlags(SoftwareVcpu cpu, CpuState* s, Op* op, bool signalQuiet)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        Note(s, op);
        bool go;
        FloatRelation relation = FloatRelation.Unordered;
        if (IsEmpty(s, 0) || IsEmpty(s, op->Src))
        {
            go = RaiseStackFault(s, overflow: false);
        }
        else
        {
            FloatStatus status = NewStatus(s);
            relation = F80.Compare(Get(s, 0), Get(s, op->Src), signalQuiet, ref status);
            // C1 stays as it was: these instructions answer in RFLAGS.
            status.RoundedUp = (s->Fsw & C1) != 0;
            go = Commit(s, status);
        }
        SseFloat.SetFlags(s, relation);
        if (go)
            PopTimes(s, op->Dst);
        return Status.Next;
    }

    private static bool BindTest(ref OpBuilder b)
    {
        Prepare(ref b);
        b.Op->Run = &Test;
        return true;
    }

    private static int Test(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        Note(s, op);
        FloatStatus status = NewStatus(s);
        return CompareMemory(s, op, F80.Zero, ref status);
    }

    private static bool BindExamine(ref OpBuilder b)
    {
        Prepare(ref b);
        b.Op->Run = &Examine;
        return true;
    }

    private static int Examine(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Begin(cpu, s))
            return Status.Fault;
        Note(s, op);
        F80 value = Get(s, 0);
        int kind = IsEmpty(s, 0) ? C3 | C0 : value.Class switch
        {
            F80Class.Unsupported => 0,
            F80Class.NaN => C0,
            F80Class.Normal => C2,
            F80Class.Infinity => C2 | C0,
            F80Class.Zero => C3,
            _ => C3 | C2,
        };
        s->Fsw = (ushort)((s->Fsw & ~Conditions) | kind | (value.Sign ? C1 : 0));
        return Status.Next;
    }
}
