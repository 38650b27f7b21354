using Iced.Intel;
using Trapline.Cpu.Interpreter.Float;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>CMPPS and kin, which make masks, and COMISS and kin, which set flags.</summary>
public static unsafe partial class SseFloat
{
    private static void RegisterCompares(Binders.Registry r)
    {
        r.Add(Mnemonic.Cmpps, &BindComparePacked<Single>);
        r.Add(Mnemonic.Cmppd, &BindComparePacked<Double>);
        r.Add(Mnemonic.Cmpss, &BindCompareScalar<Single>);
        r.AddScalarCmpsd(&BindCompareScalar<Double>);
        r.Add(Mnemonic.Vcmpps, &BindComparePacked<Single>);
        r.Add(Mnemonic.Vcmppd, &BindComparePacked<Double>);
        r.Add(Mnemonic.Vcmpss, &BindCompareScalar<Single>);
        r.Add(Mnemonic.Vcmpsd, &BindCompareScalar<Double>);
        r.Add(Mnemonic.Comiss, &BindCompareFlags<Single>);
        r.Add(Mnemonic.Comisd, &BindCompareFlags<Double>);
        r.Add(Mnemonic.Ucomiss, &BindCompareFlagsQuietly<Single>);
        r.Add(Mnemonic.Ucomisd, &BindCompareFlagsQuietly<Double>);
        r.Add(Mnemonic.Vcomiss, &BindCompareFlags<Single>);
        r.Add(Mnemonic.Vcomisd, &BindCompareFlags<Double>);
        r.Add(Mnemonic.Vucomiss, &BindCompareFlagsQuietly<Single>);
        r.Add(Mnemonic.Vucomisd, &BindCompareFlagsQuietly<Double>);
    }

    /// <summary>The predicate is the immediate: 3 bits of it in legacy forms, 5 in VEX forms.</summary>
    private readonly struct CompareOp : IOperation
    {
        public static ulong Apply<TElement>(Op* op, ulong a, ulong b, ref FloatStatus status) where TElement : IElement
        {
            bool holds = IsSingle<TElement>()
                ? F32.ComparePredicate((uint)a, (uint)b, (int)op->Imm, ref status)
                : F64.ComparePredicate(a, b, (int)op->Imm, ref status);
            return holds ? ulong.MaxValue : 0;
        }
    }

    private static bool BindComparePacked<TElement>(ref OpBuilder b) where TElement : IElement =>
        BindPacked<CompareOp, TElement>(ref b) && LimitPredicate(ref b);

    private static bool BindCompareScalar<TElement>(ref OpBuilder b) where TElement : IElement =>
        BindScalar<CompareOp, TElement>(ref b) && LimitPredicate(ref b);

    private static bool LimitPredicate(ref OpBuilder b)
    {
        b.Op->Imm &= (b.Op->Flags & OpFlags.Vex) != 0 ? 31u : 7u;
        return true;
    }

    private static bool BindCompareFlags<TElement>(ref OpBuilder b) where TElement : IElement
    {
        b.Op->Run = &CompareSignaling<TElement>;
        return Prepare(ref b);
    }

    private static bool BindCompareFlagsQuietly<TElement>(ref OpBuilder b) where TElement : IElement
    {
        b.Op->Run = &CompareQuiet<TElement>;
        return Prepare(ref b);
    }

    private static int CompareSignaling<TElement>(SoftwareVcpu cpu, CpuState* s, Op* op) where TElement : IElement =>
        CompareFlags<TElement>(cpu, s, op, signalQuiet: true);

    private static int CompareQuiet<TElement>(SoftwareVcpu cpu, CpuState* s, Op* op) where TElement : IElement =>
        CompareFlags<TElement>(cpu, s, op, signalQuiet: false);

    private static int CompareFlags<TElement>(SoftwareVcpu cpu, CpuState* s, Op* op, bool signalQuiet) where TElement : IElement
    {
        if (!Begin(cpu, s, op) || !ScalarOperand<TElement>(cpu, s, op, out ulong right))
            return Status.Fault;
        ulong left = Get<TElement>((byte*)s + op->Dst);
        FloatStatus status = new(s->Mxcsr);
        FloatRelation relation = IsSingle<TElement>()
            ? F32.Compare((uint)left, (uint)right, signalQuiet, ref status)
            : F64.Compare(left, right, signalQuiet, ref status);
        if (!Commit(cpu, s, status))
            return Status.Fault;
        SetFlags(s, relation);
        return Status.Next;
    }
}
