using System.Runtime.CompilerServices;
using Iced.Intel;
using Trapline.Cpu.Interpreter.Float;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>FMA3: a * b + c with one rounding, in three operand orders and six sign patterns (SDM Vol. 1, 14.5).</summary>
public static unsafe partial class SseFloat
{
    private static void RegisterMultiplyAdd(Binders.Registry r)
    {
        r.Add(Mnemonic.Vfmadd132ps, &BindMultiplyAddPacked<Order132, MultiplyAdd, Single>);
        r.Add(Mnemonic.Vfmadd132pd, &BindMultiplyAddPacked<Order132, MultiplyAdd, Double>);
        r.Add(Mnemonic.Vfmadd132ss, &BindMultiplyAddScalar<Order132, MultiplyAdd, Single>);
        r.Add(Mnemonic.Vfmadd132sd, &BindMultiplyAddScalar<Order132, MultiplyAdd, Double>);
        r.Add(Mnemonic.Vfmsub132ps, &BindMultiplyAddPacked<Order132, MultiplySubtract, Single>);
        r.Add(Mnemonic.Vfmsub132pd, &BindMultiplyAddPacked<Order132, MultiplySubtract, Double>);
        r.Add(Mnemonic.Vfmsub132ss, &BindMultiplyAddScalar<Order132, MultiplySubtract, Single>);
        r.Add(Mnemonic.Vfmsub132sd, &BindMultiplyAddScalar<Order132, MultiplySubtract, Double>);
        r.Add(Mnemonic.Vfnmadd132ps, &BindMultiplyAddPacked<Order132, NegatedMultiplyAdd, Single>);
        r.Add(Mnemonic.Vfnmadd132pd, &BindMultiplyAddPacked<Order132, NegatedMultiplyAdd, Double>);
        r.Add(Mnemonic.Vfnmadd132ss, &BindMultiplyAddScalar<Order132, NegatedMultiplyAdd, Single>);
        r.Add(Mnemonic.Vfnmadd132sd, &BindMultiplyAddScalar<Order132, NegatedMultiplyAdd, Double>);
        r.Add(Mnemonic.Vfnmsub132ps, &BindMultiplyAddPacked<Order132, NegatedMultiplySubtract, Single>);
        r.Add(Mnemonic.Vfnmsub132pd, &BindMultiplyAddPacked<Order132, NegatedMultiplySubtract, Double>);
        r.Add(Mnemonic.Vfnmsub132ss, &BindMultiplyAddScalar<Order132, NegatedMultiplySubtract, Single>);
        r.Add(Mnemonic.Vfnmsub132sd, &BindMultiplyAddScalar<Order132, NegatedMultiplySubtract, Double>);
        r.Add(Mnemonic.Vfmaddsub132ps, &BindMultiplyAddPacked<Order132, MultiplyAddSub, Single>);
        r.Add(Mnemonic.Vfmaddsub132pd, &BindMultiplyAddPacked<Order132, MultiplyAddSub, Double>);
        r.Add(Mnemonic.Vfmsubadd132ps, &BindMultiplyAddPacked<Order132, MultiplySubAdd, Single>);
        r.Add(Mnemonic.Vfmsubadd132pd, &BindMultiplyAddPacked<Order132, MultiplySubAdd, Double>);
        r.Add(Mnemonic.Vfmadd213ps, &BindMultiplyAddPacked<Order213, MultiplyAdd, Single>);
        r.Add(Mnemonic.Vfmadd213pd, &BindMultiplyAddPacked<Order213, MultiplyAdd, Double>);
        r.Add(Mnemonic.Vfmadd213ss, &BindMultiplyAddScalar<Order213, MultiplyAdd, Single>);
        r.Add(Mnemonic.Vfmadd213sd, &BindMultiplyAddScalar<Order213, MultiplyAdd, Double>);
        r.Add(Mnemonic.Vfmsub213ps, &BindMultiplyAddPacked<Order213, MultiplySubtract, Single>);
        r.Add(Mnemonic.Vfmsub213pd, &BindMultiplyAddPacked<Order213, MultiplySubtract, Double>);
        r.Add(Mnemonic.Vfmsub213ss, &BindMultiplyAddScalar<Order213, MultiplySubtract, Single>);
        r.Add(Mnemonic.Vfmsub213sd, &BindMultiplyAddScalar<Order213, MultiplySubtract, Double>);
        r.Add(Mnemonic.Vfnmadd213ps, &BindMultiplyAddPacked<Order213, NegatedMultiplyAdd, Single>);
        r.Add(Mnemonic.Vfnmadd213pd, &BindMultiplyAddPacked<Order213, NegatedMultiplyAdd, Double>);
        r.Add(Mnemonic.Vfnmadd213ss, &BindMultiplyAddScalar<Order213, NegatedMultiplyAdd, Single>);
        r.Add(Mnemonic.Vfnmadd213sd, &BindMultiplyAddScalar<Order213, NegatedMultiplyAdd, Double>);
        r.Add(Mnemonic.Vfnmsub213ps, &BindMultiplyAddPacked<Order213, NegatedMultiplySubtract, Single>);
        r.Add(Mnemonic.Vfnmsub213pd, &BindMultiplyAddPacked<Order213, NegatedMultiplySubtract, Double>);
        r.Add(Mnemonic.Vfnmsub213ss, &BindMultiplyAddScalar<Order213, NegatedMultiplySubtract, Single>);
        r.Add(Mnemonic.Vfnmsub213sd, &BindMultiplyAddScalar<Order213, NegatedMultiplySubtract, Double>);
        r.Add(Mnemonic.Vfmaddsub213ps, &BindMultiplyAddPacked<Order213, MultiplyAddSub, Single>);
        r.Add(Mnemonic.Vfmaddsub213pd, &BindMultiplyAddPacked<Order213, MultiplyAddSub, Double>);
        r.Add(Mnemonic.Vfmsubadd213ps, &BindMultiplyAddPacked<Order213, MultiplySubAdd, Single>);
        r.Add(Mnemonic.Vfmsubadd213pd, &BindMultiplyAddPacked<Order213, MultiplySubAdd, Double>);
        r.Add(Mnemonic.Vfmadd231ps, &BindMultiplyAddPacked<Order231, MultiplyAdd, Single>);
        r.Add(Mnemonic.Vfmadd231pd, &BindMultiplyAddPacked<Order231, MultiplyAdd, Double>);
        r.Add(Mnemonic.Vfmadd231ss, &BindMultiplyAddScalar<Order231, MultiplyAdd, Single>);
        r.Add(Mnemonic.Vfmadd231sd, &BindMultiplyAddScalar<Order231, MultiplyAdd, Double>);
        r.Add(Mnemonic.Vfmsub231ps, &BindMultiplyAddPacked<Order231, MultiplySubtract, Single>);
        r.Add(Mnemonic.Vfmsub231pd, &BindMultiplyAddPacked<Order231, MultiplySubtract, Double>);
        r.Add(Mnemonic.Vfmsub231ss, &BindMultiplyAddScalar<Order231, MultiplySubtract, Single>);
        r.Add(Mnemonic.Vfmsub231sd, &BindMultiplyAddScalar<Order231, MultiplySubtract, Double>);
        r.Add(Mnemonic.Vfnmadd231ps, &BindMultiplyAddPacked<Order231, NegatedMultiplyAdd, Single>);
        r.Add(Mnemonic.Vfnmadd231pd, &BindMultiplyAddPacked<Order231, NegatedMultiplyAdd, Double>);
        r.Add(Mnemonic.Vfnmadd231ss, &BindMultiplyAddScalar<Order231, NegatedMultiplyAdd, Single>);
        r.Add(Mnemonic.Vfnmadd231sd, &BindMultiplyAddScalar<Order231, NegatedMultiplyAdd, Double>);
        r.Add(Mnemonic.Vfnmsub231ps, &BindMultiplyAddPacked<Order231, NegatedMultiplySubtract, Single>);
        r.Add(Mnemonic.Vfnmsub231pd, &BindMultiplyAddPacked<Order231, NegatedMultiplySubtract, Double>);
        r.Add(Mnemonic.Vfnmsub231ss, &BindMultiplyAddScalar<Order231, NegatedMultiplySubtract, Single>);
        r.Add(Mnemonic.Vfnmsub231sd, &BindMultiplyAddScalar<Order231, NegatedMultiplySubtract, Double>);
        r.Add(Mnemonic.Vfmaddsub231ps, &BindMultiplyAddPacked<Order231, MultiplyAddSub, Single>);
        r.Add(Mnemonic.Vfmaddsub231pd, &BindMultiplyAddPacked<Order231, MultiplyAddSub, Double>);
        r.Add(Mnemonic.Vfmsubadd231ps, &BindMultiplyAddPacked<Order231, MultiplySubAdd, Single>);
        r.Add(Mnemonic.Vfmsubadd231pd, &BindMultiplyAddPacked<Order231, MultiplySubAdd, Double>);
    }

    /// <summary>Which operands are multiplied and which added: a is the destination, b the first source, c the second. NaNs go by this order too.</summary>
    private interface IOrder
    {
        static abstract (ulong X, ulong Y, ulong Z) Arrange(ulong a, ulong b, ulong c);
    }

    private readonly struct Order132 : IOrder
    {
        [MethodImpl(Inline)]
        public static (ulong X, ulong Y, ulong Z) Arrange(ulong a, ulong b, ulong c) => (a, c, b);
    }

    private readonly struct Order213 : IOrder
    {
        [MethodImpl(Inline)]
        public static (ulong X, ulong Y, ulong Z) Arrange(ulong a, ulong b, ulong c) => (b, a, c);
    }

    private readonly struct Order231 : IOrder
    {
        [MethodImpl(Inline)]
        public static (ulong X, ulong Y, ulong Z) Arrange(ulong a, ulong b, ulong c) => (b, c, a);
    }

    /// <summary>The signs of product and addend; the last two forms alternate between odd and even elements.</summary>
    private interface ISigns
    {
        static abstract bool NegateProduct { get; }
        static abstract bool NegateAddend(bool odd);
    }

    private readonly struct MultiplyAdd : ISigns
    {
        public static bool NegateProduct => false;
        public static bool NegateAddend(bool odd) => false;
    }

    private readonly struct MultiplySubtract : ISigns
    {
        public static bool NegateProduct => false;
        public static bool NegateAddend(bool odd) => true;
    }

    private readonly struct NegatedMultiplyAdd : ISigns
    {
        public static bool NegateProduct => true;
        public static bool NegateAddend(bool odd) => false;
    }

    private readonly struct NegatedMultiplySubtract : ISigns
    {
        public static bool NegateProduct => true;
        public static bool NegateAddend(bool odd) => true;
    }

    private readonly struct MultiplyAddSub : ISigns
    {
        public static bool NegateProduct => false;
        public static bool NegateAddend(bool odd) => !odd;
    }

    private readonly struct MultiplySubAdd : ISigns
    {
        public static bool NegateProduct => false;
        public static bool NegateAddend(bool odd) => odd;
    }

    [MethodImpl(Inline)]
    private static ulong Fused<TOrder, TSigns, TElement>(ulong a, ulong b, ulong c, bool odd, ref FloatStatus status)
        where TOrder : IOrder where TSigns : ISigns where TElement : IElement
    {
        (ulong x, ulong y, ulong z) = TOrder.Arrange(a, b, c);
        return IsSingle<TElement>()
            ? F32.MultiplyAdd((uint)x, (uint)y, (uint)z, TSigns.NegateProduct, TSigns.NegateAddend(odd), ref status)
            : F64.MultiplyAdd(x, y, z, TSigns.NegateProduct, TSigns.NegateAddend(odd), ref status);
    }

    private static bool BindMultiplyAddPacked<TOrder, TSigns, TElement>(ref OpBuilder b)
        where TOrder : IOrder where TSigns : ISigns where TElement : IElement
    {
        b.Op->Run = &MultiplyAddPacked<TOrder, TSigns, TElement>;
        return Prepare(ref b);
    }

    private static int MultiplyAddPacked<TOrder, TSigns, TElement>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TOrder : IOrder where TSigns : ISigns where TElement : IElement
    {
        byte* buffer = stackalloc byte[32];
        byte* result = stackalloc byte[32];
        if (!Begin(cpu, s, op))
            return Status.Fault;
        byte* third = Operand(cpu, s, op, buffer);
        if (third == null)
            return Status.Fault;
        byte* first = (byte*)s + op->Dst, second = (byte*)s + op->Src2;
        FloatStatus status = new(s->Mxcsr);
        int bytes = VectorBytes(op);
        for (int i = 0; i < bytes; i += TElement.Bytes)
        {
            Put<TElement>(result + i, Fused<TOrder, TSigns, TElement>(
                Get<TElement>(first + i), Get<TElement>(second + i), Get<TElement>(third + i), (i & TElement.Bytes) != 0, ref status));
        }
        if (!Commit(cpu, s, status))
            return Status.Fault;
        WriteVector(s, op, result);
        return Status.Next;
    }

    private static bool BindMultiplyAddScalar<TOrder, TSigns, TElement>(ref OpBuilder b)
        where TOrder : IOrder where TSigns : ISigns where TElement : IElement
    {
        b.Op->Run = &MultiplyAddScalar<TOrder, TSigns, TElement>;
        return Prepare(ref b);
    }

    /// <summary>The rest of the destination's low 16 bytes stays.</summary>
    private static int MultiplyAddScalar<TOrder, TSigns, TElement>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TOrder : IOrder where TSigns : ISigns where TElement : IElement
    {
        if (!Begin(cpu, s, op) || !ScalarOperand<TElement>(cpu, s, op, out ulong third))
            return Status.Fault;
        byte* to = (byte*)s + op->Dst;
        FloatStatus status = new(s->Mxcsr);
        ulong result = Fused<TOrder, TSigns, TElement>(Get<TElement>(to), Get<TElement>((byte*)s + op->Src2), third, false, ref status);
        if (!Commit(cpu, s, status))
            return Status.Fault;
        Put<TElement>(to, result);
        ((ulong*)to)[2] = 0;
        ((ulong*)to)[3] = 0;
        return Status.Next;
    }
}
