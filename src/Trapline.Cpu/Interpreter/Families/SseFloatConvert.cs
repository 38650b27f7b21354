using System.Runtime.CompilerServices;
using Iced.Intel;
using Trapline.Cpu.Interpreter.Float;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>Conversions: between formats and with integers, packed, scalar, to and from general and MMX registers.</summary>
public static unsafe partial class SseFloat
{
    private static void RegisterConversions(Binders.Registry r)
    {
        r.Add(Mnemonic.Cvtdq2ps, &BindConvert<Int32ToSingle>);
        r.Add(Mnemonic.Vcvtdq2ps, &BindConvert<Int32ToSingle>);
        r.Add(Mnemonic.Cvtps2dq, &BindConvert<SingleToInt32>);
        r.Add(Mnemonic.Vcvtps2dq, &BindConvert<SingleToInt32>);
        r.Add(Mnemonic.Cvttps2dq, &BindConvert<SingleToInt32Truncated>);
        r.Add(Mnemonic.Vcvttps2dq, &BindConvert<SingleToInt32Truncated>);
        r.Add(Mnemonic.Cvtdq2pd, &BindConvert<Int32ToDouble>);
        r.Add(Mnemonic.Vcvtdq2pd, &BindConvert<Int32ToDouble>);
        r.Add(Mnemonic.Cvtpd2dq, &BindConvert<DoubleToInt32>);
        r.Add(Mnemonic.Vcvtpd2dq, &BindConvert<DoubleToInt32>);
        r.Add(Mnemonic.Cvttpd2dq, &BindConvert<DoubleToInt32Truncated>);
        r.Add(Mnemonic.Vcvttpd2dq, &BindConvert<DoubleToInt32Truncated>);
        r.Add(Mnemonic.Cvtps2pd, &BindConvert<SingleToDouble>);
        r.Add(Mnemonic.Vcvtps2pd, &BindConvert<SingleToDouble>);
        r.Add(Mnemonic.Cvtpd2ps, &BindConvert<DoubleToSingle>);
        r.Add(Mnemonic.Vcvtpd2ps, &BindConvert<DoubleToSingle>);
        r.Add(Mnemonic.Vcvtph2ps, &BindConvert<HalfToSingle>);
        r.Add(Mnemonic.Vcvtps2ph, &BindToHalf);

        r.Add(Mnemonic.Cvtss2sd, &BindSingleToDouble);
        r.Add(Mnemonic.Vcvtss2sd, &BindSingleToDouble);
        r.Add(Mnemonic.Cvtsd2ss, &BindDoubleToSingle);
        r.Add(Mnemonic.Vcvtsd2ss, &BindDoubleToSingle);

        r.Add(Mnemonic.Cvtsi2ss, &BindFromGeneral<Single>);
        r.Add(Mnemonic.Vcvtsi2ss, &BindFromGeneral<Single>);
        r.Add(Mnemonic.Cvtsi2sd, &BindFromGeneral<Double>);
        r.Add(Mnemonic.Vcvtsi2sd, &BindFromGeneral<Double>);
        r.Add(Mnemonic.Cvtss2si, &BindToGeneral<Single>);
        r.Add(Mnemonic.Vcvtss2si, &BindToGeneral<Single>);
        r.Add(Mnemonic.Cvtsd2si, &BindToGeneral<Double>);
        r.Add(Mnemonic.Vcvtsd2si, &BindToGeneral<Double>);
        r.Add(Mnemonic.Cvttss2si, &BindToGeneralTruncated<Single>);
        r.Add(Mnemonic.Vcvttss2si, &BindToGeneralTruncated<Single>);
        r.Add(Mnemonic.Cvttsd2si, &BindToGeneralTruncated<Double>);
        r.Add(Mnemonic.Vcvttsd2si, &BindToGeneralTruncated<Double>);

        r.Add(Mnemonic.Cvtpi2ps, &BindFromMmx<Int32ToSingle>);
        r.Add(Mnemonic.Cvtpi2pd, &BindFromMmx<Int32ToDouble>);
        r.Add(Mnemonic.Cvtps2pi, &BindToMmx<SingleToInt32>);
        r.Add(Mnemonic.Cvttps2pi, &BindToMmx<SingleToInt32Truncated>);
        r.Add(Mnemonic.Cvtpd2pi, &BindToMmx<DoubleToInt32>);
        r.Add(Mnemonic.Cvttpd2pi, &BindToMmx<DoubleToInt32Truncated>);
    }

    /// <summary>One element's conversion, with the widths on both sides.</summary>
    private interface IConversion
    {
        static abstract int FromBytes { get; }
        static abstract int ToBytes { get; }
        static abstract ulong Apply(ulong value, ref FloatStatus status);
    }

    private readonly struct Int32ToSingle : IConversion
    {
        public static int FromBytes => 4;
        public static int ToBytes => 4;
        public static ulong Apply(ulong value, ref FloatStatus status) => F32.FromInt32((int)value, ref status);
    }

    private readonly struct SingleToInt32 : IConversion
    {
        public static int FromBytes => 4;
        public static int ToBytes => 4;
        public static ulong Apply(ulong value, ref FloatStatus status) => (uint)F32.ToInt32((uint)value, ref status);
    }

    private readonly struct SingleToInt32Truncated : IConversion
    {
        public static int FromBytes => 4;
        public static int ToBytes => 4;
        public static ulong Apply(ulong value, ref FloatStatus status) => (uint)F32.ToInt32Truncated((uint)value, ref status);
    }

    private readonly struct Int32ToDouble : IConversion
    {
        public static int FromBytes => 4;
        public static int ToBytes => 8;
        public static ulong Apply(ulong value, ref FloatStatus status) => F64.FromInt32((int)value, ref status);
    }

    private readonly struct DoubleToInt32 : IConversion
    {
        public static int FromBytes => 8;
        public static int ToBytes => 4;
        public static ulong Apply(ulong value, ref FloatStatus status) => (uint)F64.ToInt32(value, ref status);
    }

    private readonly struct DoubleToInt32Truncated : IConversion
    {
        public static int FromBytes => 8;
        public static int ToBytes => 4;
        public static ulong Apply(ulong value, ref FloatStatus status) => (uint)F64.ToInt32Truncated(value, ref status);
    }

    private readonly struct SingleToDouble : IConversion
    {
        public static int FromBytes => 4;
        public static int ToBytes => 8;
        public static ulong Apply(ulong value, ref FloatStatus status) => F32.ToF64((uint)value, ref status);
    }

    private readonly struct DoubleToSingle : IConversion
    {
        public static int FromBytes => 8;
        public static int ToBytes => 4;
        public static ulong Apply(ulong value, ref FloatStatus status) => F64.ToF32(value, ref status);
    }

    private readonly struct HalfToSingle : IConversion
    {
        public static int FromBytes => 2;
        public static int ToBytes => 4;
        public static ulong Apply(ulong value, ref FloatStatus status) => F32.FromF16((ushort)value, ref status);
    }

    private static ulong Read(byte* p, int bytes) => bytes switch { 2 => *(ushort*)p, 4 => *(uint*)p, _ => *(ulong*)p };

    private static void Write(byte* p, int bytes, ulong value)
    {
        switch (bytes)
        {
            case 2: *(ushort*)p = (ushort)value; break;
            case 4: *(uint*)p = (uint)value; break;
            default: *(ulong*)p = value; break;
        }
    }

    private static bool BindConvert<TConversion>(ref OpBuilder b) where TConversion : IConversion
    {
        b.Op->Run = &Convert<TConversion>;
        return Prepare(ref b);
    }

    /// <summary>As many elements as the wider side holds; what a narrower result leaves of the destination is zero.</summary>
    private static int Convert<TConversion>(SoftwareVcpu cpu, CpuState* s, Op* op) where TConversion : IConversion
    {
        byte* buffer = stackalloc byte[32];
        ulong* result = stackalloc ulong[4];
        if (!Begin(cpu, s, op))
            return Status.Fault;
        byte* from = Operand(cpu, s, op, buffer);
        if (from == null)
            return Status.Fault;
        result[0] = result[1] = result[2] = result[3] = 0;
        FloatStatus status = new(s->Mxcsr);
        int count = VectorBytes(op) / Math.Max(TConversion.FromBytes, TConversion.ToBytes);
        for (int i = 0; i < count; i++)
        {
            Write((byte*)result + i * TConversion.ToBytes, TConversion.ToBytes,
                TConversion.Apply(Read(from + i * TConversion.FromBytes, TConversion.FromBytes), ref status));
        }
        if (!Commit(cpu, s, status))
            return Status.Fault;
        WriteVector(s, op, (byte*)result);
        return Status.Next;
    }

    private static bool BindToHalf(ref OpBuilder b)
    {
        if (!Prepare(ref b))
            return false;
        if (b.IsMemory(0))
        {
            b.Op->Run = &ToHalfMemory;
            return true;
        }
        b.Op->Run = &ToHalf;
        return true;
    }

    private static bool ToHalves(SoftwareVcpu cpu, CpuState* s, Op* op, int count, ulong* result)
    {
        byte* from = (byte*)s + op->Src;
        FloatStatus status = new(s->Mxcsr);
        for (int i = 0; i < count; i++)
            ((ushort*)result)[i] = F32.ToF16(((uint*)from)[i], (byte)op->Imm, ref status);
        return Commit(cpu, s, status);
    }

    private static int ToHalf(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        ulong* result = stackalloc ulong[2];
        result[0] = result[1] = 0;
        if (!Begin(cpu, s, op) || !ToHalves(cpu, s, op, VectorBytes(op) / 4, result))
            return Status.Fault;
        ulong* to = (ulong*)((byte*)s + op->Dst);
        to[0] = result[0];
        to[1] = result[1];
        to[2] = to[3] = 0;
        return Status.Next;
    }

    private static int ToHalfMemory(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        ulong* result = stackalloc ulong[2];
        int size = op->OperandSize;
        if (!Begin(cpu, s, op) || !Address(cpu, s, op, size, write: true, out ulong linear)
            || !cpu.Probe(linear, size, op->Segment, write: true)
            || !ToHalves(cpu, s, op, size / 2, result)
            || !cpu.TransferSlow(linear, (byte*)result, size, op->Segment, store: true))
            return Status.Fault;
        return Status.Next;
    }

    private static bool BindSingleToDouble(ref OpBuilder b)
    {
        b.Op->Run = &ScalarSingleToDouble;
        return Prepare(ref b);
    }

    private static int ScalarSingleToDouble(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Begin(cpu, s, op) || !ScalarOperand<Single>(cpu, s, op, out ulong value))
            return Status.Fault;
        FloatStatus status = new(s->Mxcsr);
        ulong result = F32.ToF64((uint)value, ref status);
        if (!Commit(cpu, s, status))
            return Status.Fault;
        WriteScalar<Double>(s, op, result);
        return Status.Next;
    }

    private static bool BindDoubleToSingle(ref OpBuilder b)
    {
        b.Op->Run = &ScalarDoubleToSingle;
        return Prepare(ref b);
    }

    private static int ScalarDoubleToSingle(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Begin(cpu, s, op) || !ScalarOperand<Double>(cpu, s, op, out ulong value))
            return Status.Fault;
        FloatStatus status = new(s->Mxcsr);
        ulong result = F64.ToF32(value, ref status);
        if (!Commit(cpu, s, status))
            return Status.Fault;
        WriteScalar<Single>(s, op, result);
        return Status.Next;
    }

    private static bool BindFromGeneral<TElement>(ref OpBuilder b) where TElement : IElement
    {
        if (!Prepare(ref b))
            return false;
        int last = b.Instruction.OpCount - 1;
        bool wide = b.IsRegister(last) ? b.RegisterSize(last) == 8 : b.Op->OperandSize == 8;
        b.Op->Run = wide ? &FromGeneral<TElement, W64> : &FromGeneral<TElement, W32>;
        return true;
    }

    private static int FromGeneral<TElement, TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TElement : IElement where TWidth : IWidth
    {
        if (!Begin(cpu, s, op))
            return Status.Fault;
        ulong value;
        if ((op->Flags & OpFlags.Memory) == 0)
        {
            value = TWidth.Get((byte*)s + op->Src);
        }
        else if (!Address(cpu, s, op, TWidth.Bytes, write: false, out ulong linear)
            || !GuestAccess.Load<TWidth>(cpu, s, op, linear, out value))
        {
            return Status.Fault;
        }
        FloatStatus status = new(s->Mxcsr);
        long integer = (long)TWidth.SignExtend(value);
        ulong result = IsSingle<TElement>() ? F32.FromInt64(integer, ref status) : F64.FromInt64(integer, ref status);
        if (!Commit(cpu, s, status))
            return Status.Fault;
        WriteScalar<TElement>(s, op, result);
        return Status.Next;
    }

    private static bool BindToGeneral<TElement>(ref OpBuilder b) where TElement : IElement
    {
        b.Op->Run = b.RegisterSize(0) == 8 ? &ToGeneral<TElement, W64, AsControlled> : &ToGeneral<TElement, W32, AsControlled>;
        return Prepare(ref b);
    }

    private static bool BindToGeneralTruncated<TElement>(ref OpBuilder b) where TElement : IElement
    {
        b.Op->Run = b.RegisterSize(0) == 8 ? &ToGeneral<TElement, W64, TowardZero> : &ToGeneral<TElement, W32, TowardZero>;
        return Prepare(ref b);
    }

    private interface IToInteger
    {
        static abstract bool Truncates { get; }
    }

    private readonly struct AsControlled : IToInteger { public static bool Truncates => false; }
    private readonly struct TowardZero : IToInteger { public static bool Truncates => true; }

    private static int ToGeneral<TElement, TWidth, TRounding>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TElement : IElement where TWidth : IWidth where TRounding : IToInteger
    {
        if (!Begin(cpu, s, op) || !ScalarOperand<TElement>(cpu, s, op, out ulong value))
            return Status.Fault;
        FloatStatus status = new(s->Mxcsr);
        if (TRounding.Truncates)
            status.SetRounding(RoundingMode.TowardZero);
        long result = IsSingle<TElement>()
            ? TWidth.Bytes == 8 ? F32.ToInt64((uint)value, ref status) : F32.ToInt32((uint)value, ref status)
            : TWidth.Bytes == 8 ? F64.ToInt64(value, ref status) : F64.ToInt32(value, ref status);
        if (!Commit(cpu, s, status))
            return Status.Fault;
        TWidth.SetRegister((byte*)s + op->Dst, (ulong)result);
        return Status.Next;
    }

    /// <summary>
    /// MMX operands: #MF for what x87 left pending, then the x87 stack becomes eight full registers with TOP 0 (SDM Vol. 1, 9.5), whether
    /// or not #XM follows. From memory, CVTPI2PD leaves the stack alone (SDM), and so does CVTPI2PS on AMD's chips.
    /// </summary>
    private static bool BindFromMmx<TConversion>(ref OpBuilder b) where TConversion : IConversion
    {
        b.Op->Run = &FromMmx<TConversion>;
        return Prepare(ref b);
    }

    private static int FromMmx<TConversion>(SoftwareVcpu cpu, CpuState* s, Op* op) where TConversion : IConversion
    {
        byte* buffer = stackalloc byte[32];
        ulong* result = stackalloc ulong[2];
        bool entersMmx = (op->Flags & OpFlags.Memory) == 0;
        if (!Begin(cpu, s, op) || (entersMmx && !X87.NothingPending(cpu, s)))
            return Status.Fault;
        byte* from = Operand(cpu, s, op, buffer);
        if (from == null)
            return Status.Fault;
        FloatStatus status = new(s->Mxcsr);
        result[1] = 0;
        for (int i = 0; i < 2; i++)
            Write((byte*)result + i * TConversion.ToBytes, TConversion.ToBytes, TConversion.Apply(((uint*)from)[i], ref status));
        if (entersMmx)
            EnterMmx(s);
        if (!Commit(cpu, s, status))
            return Status.Fault;
        ulong* to = (ulong*)((byte*)s + op->Dst);
        to[0] = result[0];
        if (TConversion.ToBytes == 8)
            to[1] = result[1];
        return Status.Next;
    }

    private static bool BindToMmx<TConversion>(ref OpBuilder b) where TConversion : IConversion
    {
        b.Op->Run = &ToMmx<TConversion>;
        return Prepare(ref b);
    }

    private static int ToMmx<TConversion>(SoftwareVcpu cpu, CpuState* s, Op* op) where TConversion : IConversion
    {
        byte* buffer = stackalloc byte[32];
        if (!Begin(cpu, s, op) || !X87.NothingPending(cpu, s))
            return Status.Fault;
        byte* from = Operand(cpu, s, op, buffer);
        if (from == null)
            return Status.Fault;
        FloatStatus status = new(s->Mxcsr);
        ulong low = TConversion.Apply(Read(from, TConversion.FromBytes), ref status);
        ulong high = TConversion.Apply(Read(from + TConversion.FromBytes, TConversion.FromBytes), ref status);
        EnterMmx(s);
        if (!Commit(cpu, s, status))
            return Status.Fault;
        ulong* to = (ulong*)((byte*)s + op->Dst);
        to[0] = (uint)low | high << 32;
        to[1] = 0xFFFF; // writing an MMX register sets the exponent to all ones
        return Status.Next;
    }

    private static void EnterMmx(CpuState* s)
    {
        s->FpuTop = 0;
        s->FpuTags = 0xFF;
    }
}
