using Trapline.Cpu.Interpreter.Float;

namespace Trapline.Cpu.Tests.Float;

/// <summary>One row of the table of operations: the helper's number for it and what the library does for the same request.</summary>
public sealed record FloatOperation(uint Id, string Name, OperandKind Kind, SoftOperation Run)
{
    public override string ToString() => Name;
}

public delegate SoftOutcome SoftOperation(in FloatRequest r, ref FloatStatus s);

public enum OperandKind
{
    Single,
    Double,
    Half,
    Integer,
    Extended,
    /// <summary>The operand is in memory: single.</summary>
    ExtendedAndSingle,
    ExtendedAndDouble,
    ExtendedAndInteger,
    ExtendedAndBcd,
}

/// <summary>What software says the instruction leaves.</summary>
public struct SoftOutcome
{
    /// <summary>Low element or register; for x87 ST(0).</summary>
    public ulong Low;
    public ushort High;

    /// <summary>Bits of ResultLow that the instruction defines.</summary>
    public ulong Mask;
    public F80? Second;
    public ulong MemoryLow;
    public ushort MemoryHigh;
    public int MemoryBytes;

    /// <summary>C0, C2, C3 in status-word positions when not null; C1 is included when <see cref="ConditionMask"/> says so.</summary>
    public uint Condition;
    public uint ConditionMask;

    /// <summary>EFLAGS ZF, PF, CF for the compares.</summary>
    public uint? Flags;
}

public static class SoftFloat
{
    public static readonly IReadOnlyList<FloatOperation> Sse = SseOperations().ToList();

    public static readonly IReadOnlyList<FloatOperation> X87 = X87Operations().ToList();

    private static SoftOutcome D(ulong value) => new() { Low = value, Mask = ulong.MaxValue };

    private static SoftOutcome S(uint value) => new() { Low = value, Mask = uint.MaxValue };

    private static uint FlagsOf(FloatRelation r) => r switch
    {
        FloatRelation.Unordered => 0x45,
        FloatRelation.Less => 1,
        FloatRelation.Equal => 0x40,
        _ => 0,
    };

    private static SoftOutcome Flags(FloatRelation r) => new() { Flags = FlagsOf(r) };

    private static IEnumerable<FloatOperation> SseOperations()
    {
        static FloatOperation Double(uint id, string name, SoftOperation run) => new(id, name, OperandKind.Double, run);
        static FloatOperation Single(uint id, string name, SoftOperation run) => new(id, name, OperandKind.Single, run);

        yield return Double(0, "addsd", (in FloatRequest r, ref FloatStatus s) => D(F64.Add(r.ALow, r.BLow, ref s)));
        yield return Double(1, "subsd", (in FloatRequest r, ref FloatStatus s) => D(F64.Subtract(r.ALow, r.BLow, ref s)));
        yield return Double(2, "mulsd", (in FloatRequest r, ref FloatStatus s) => D(F64.Multiply(r.ALow, r.BLow, ref s)));
        yield return Double(3, "divsd", (in FloatRequest r, ref FloatStatus s) => D(F64.Divide(r.ALow, r.BLow, ref s)));
        yield return Double(4, "sqrtsd", (in FloatRequest r, ref FloatStatus s) => D(F64.SquareRoot(r.BLow, ref s)));
        yield return Double(5, "minsd", (in FloatRequest r, ref FloatStatus s) => D(F64.Min(r.ALow, r.BLow, ref s)));
        yield return Double(6, "maxsd", (in FloatRequest r, ref FloatStatus s) => D(F64.Max(r.ALow, r.BLow, ref s)));
        // 213: destination is the multiplicand, second source the multiplier, third the addend.
        yield return Double(7, "vfmadd213sd", (in FloatRequest r, ref FloatStatus s) => D(F64.MultiplyAdd(r.BLow, r.ALow, r.CLow, false, false, ref s)));
        yield return Double(8, "vfmsub213sd", (in FloatRequest r, ref FloatStatus s) => D(F64.MultiplyAdd(r.BLow, r.ALow, r.CLow, false, true, ref s)));
        yield return Double(9, "vfnmadd213sd", (in FloatRequest r, ref FloatStatus s) => D(F64.MultiplyAdd(r.BLow, r.ALow, r.CLow, true, false, ref s)));
        yield return Double(10, "vfnmsub213sd", (in FloatRequest r, ref FloatStatus s) => D(F64.MultiplyAdd(r.BLow, r.ALow, r.CLow, true, true, ref s)));
        yield return Double(11, "vfmadd132sd", (in FloatRequest r, ref FloatStatus s) => D(F64.MultiplyAdd(r.ALow, r.CLow, r.BLow, false, false, ref s)));
        yield return Double(12, "vfmadd231sd", (in FloatRequest r, ref FloatStatus s) => D(F64.MultiplyAdd(r.BLow, r.CLow, r.ALow, false, false, ref s)));

        yield return Single(20, "addss", (in FloatRequest r, ref FloatStatus s) => S(F32.Add((uint)r.ALow, (uint)r.BLow, ref s)));
        yield return Single(21, "subss", (in FloatRequest r, ref FloatStatus s) => S(F32.Subtract((uint)r.ALow, (uint)r.BLow, ref s)));
        yield return Single(22, "mulss", (in FloatRequest r, ref FloatStatus s) => S(F32.Multiply((uint)r.ALow, (uint)r.BLow, ref s)));
        yield return Single(23, "divss", (in FloatRequest r, ref FloatStatus s) => S(F32.Divide((uint)r.ALow, (uint)r.BLow, ref s)));
        yield return Single(24, "sqrtss", (in FloatRequest r, ref FloatStatus s) => S(F32.SquareRoot((uint)r.BLow, ref s)));
        yield return Single(25, "minss", (in FloatRequest r, ref FloatStatus s) => S(F32.Min((uint)r.ALow, (uint)r.BLow, ref s)));
        yield return Single(26, "maxss", (in FloatRequest r, ref FloatStatus s) => S(F32.Max((uint)r.ALow, (uint)r.BLow, ref s)));
        yield return Single(27, "vfmadd213ss", (in FloatRequest r, ref FloatStatus s) => S(F32.MultiplyAdd((uint)r.BLow, (uint)r.ALow, (uint)r.CLow, false, false, ref s)));
        yield return Single(28, "vfmsub213ss", (in FloatRequest r, ref FloatStatus s) => S(F32.MultiplyAdd((uint)r.BLow, (uint)r.ALow, (uint)r.CLow, false, true, ref s)));
        yield return Single(29, "vfnmadd213ss", (in FloatRequest r, ref FloatStatus s) => S(F32.MultiplyAdd((uint)r.BLow, (uint)r.ALow, (uint)r.CLow, true, false, ref s)));
        yield return Single(30, "vfnmsub213ss", (in FloatRequest r, ref FloatStatus s) => S(F32.MultiplyAdd((uint)r.BLow, (uint)r.ALow, (uint)r.CLow, true, true, ref s)));

        yield return Double(40, "ucomisd", (in FloatRequest r, ref FloatStatus s) => Flags(F64.Compare(r.ALow, r.BLow, false, ref s)));
        yield return Double(41, "comisd", (in FloatRequest r, ref FloatStatus s) => Flags(F64.Compare(r.ALow, r.BLow, true, ref s)));
        yield return Single(42, "ucomiss", (in FloatRequest r, ref FloatStatus s) => Flags(F32.Compare((uint)r.ALow, (uint)r.BLow, false, ref s)));
        yield return Single(43, "comiss", (in FloatRequest r, ref FloatStatus s) => Flags(F32.Compare((uint)r.ALow, (uint)r.BLow, true, ref s)));

        yield return Double(50, "cvtsd2si r32", (in FloatRequest r, ref FloatStatus s) => D((uint)F64.ToInt32(r.BLow, ref s)));
        yield return Double(51, "cvtsd2si r64", (in FloatRequest r, ref FloatStatus s) => D((ulong)F64.ToInt64(r.BLow, ref s)));
        yield return Double(52, "cvttsd2si r32", (in FloatRequest r, ref FloatStatus s) => D((uint)F64.ToInt32Truncated(r.BLow, ref s)));
        yield return Double(53, "cvttsd2si r64", (in FloatRequest r, ref FloatStatus s) => D((ulong)F64.ToInt64Truncated(r.BLow, ref s)));
        yield return Single(54, "cvtss2si r32", (in FloatRequest r, ref FloatStatus s) => D((uint)F32.ToInt32((uint)r.BLow, ref s)));
        yield return Single(55, "cvtss2si r64", (in FloatRequest r, ref FloatStatus s) => D((ulong)F32.ToInt64((uint)r.BLow, ref s)));
        yield return Single(56, "cvttss2si r32", (in FloatRequest r, ref FloatStatus s) => D((uint)F32.ToInt32Truncated((uint)r.BLow, ref s)));
        yield return Single(57, "cvttss2si r64", (in FloatRequest r, ref FloatStatus s) => D((ulong)F32.ToInt64Truncated((uint)r.BLow, ref s)));

        static FloatOperation Integer(uint id, string name, SoftOperation run) => new(id, name, OperandKind.Integer, run);
        yield return Integer(60, "cvtsi2sd r32", (in FloatRequest r, ref FloatStatus s) => D(F64.FromInt32((int)r.BLow, ref s)));
        yield return Integer(61, "cvtsi2sd r64", (in FloatRequest r, ref FloatStatus s) => D(F64.FromInt64((long)r.BLow, ref s)));
        yield return Integer(62, "cvtsi2ss r32", (in FloatRequest r, ref FloatStatus s) => S(F32.FromInt32((int)r.BLow, ref s)));
        yield return Integer(63, "cvtsi2ss r64", (in FloatRequest r, ref FloatStatus s) => S(F32.FromInt64((long)r.BLow, ref s)));

        yield return Double(64, "cvtsd2ss", (in FloatRequest r, ref FloatStatus s) => S(F64.ToF32(r.BLow, ref s)));
        yield return Single(65, "cvtss2sd", (in FloatRequest r, ref FloatStatus s) => D(F32.ToF64((uint)r.BLow, ref s)));
        yield return new(66, "vcvtph2ps", OperandKind.Half, (in FloatRequest r, ref FloatStatus s) => S(F32.FromF16((ushort)r.BLow, ref s)));
        for (uint i = 0; i < 8; i++)
        {
            var control = (byte)i;
            yield return Single(80 + i, $"vcvtps2ph {i}", (in FloatRequest r, ref FloatStatus s) => new() { Low = F32.ToF16((uint)r.BLow, control, ref s), Mask = 0xFFFF });
        }
        for (uint i = 0; i < 16; i++)
        {
            var control = (byte)i;
            yield return Double(100 + i, $"roundsd {i}", (in FloatRequest r, ref FloatStatus s) => D(F64.RoundToIntegral(r.BLow, control, ref s)));
            yield return Single(116 + i, $"roundss {i}", (in FloatRequest r, ref FloatStatus s) => S(F32.RoundToIntegral((uint)r.BLow, control, ref s)));
        }
        for (uint i = 0; i < 32; i++)
        {
            var predicate = (int)i;
            yield return Double(200 + i, $"vcmpsd {i}", (in FloatRequest r, ref FloatStatus s) => D(F64.ComparePredicate(r.ALow, r.BLow, predicate, ref s) ? ulong.MaxValue : 0));
            yield return Single(232 + i, $"vcmpss {i}", (in FloatRequest r, ref FloatStatus s) => S(F32.ComparePredicate((uint)r.ALow, (uint)r.BLow, predicate, ref s) ? uint.MaxValue : 0));
        }
    }

    private static F80 A(in FloatRequest r) => new((ushort)r.AHigh, r.ALow);

    private static F80 B(in FloatRequest r) => new((ushort)r.BHigh, r.BLow);

    private const uint C1 = 1u << 9;

    /// <summary>A result in ST(0), which stays as it was when an unmasked exception stops the instruction.</summary>
    private static SoftOutcome X(in FloatRequest r, F80 value, in FloatStatus s)
    {
        if ((s.Unmasked & FloatExceptions.PreComputation) != 0)
            value = A(r);
        return new() { Low = value.Significand, High = value.SignExponent, Mask = ulong.MaxValue, Condition = s.RoundedUp ? C1 : 0, ConditionMask = C1 };
    }

    /// <summary>A result in memory, which is not written when anything but precision is unmasked; popped or not, ST(0) is not looked at.</summary>
    private static SoftOutcome M(in FloatRequest r, ulong low, ushort high, int bytes, in FloatStatus s)
    {
        SoftOutcome o = new() { MemoryLow = low, MemoryHigh = high, MemoryBytes = bytes, Condition = s.RoundedUp ? C1 : 0, ConditionMask = C1 };
        if ((s.Unmasked & ~FloatExceptions.Precision) != 0)
        {
            o.MemoryLow = r.CLow;
            o.MemoryHigh = (ushort)r.CHigh;
        }
        return o;
    }

    private static SoftOutcome Relation(FloatRelation relation)
    {
        uint condition = relation switch
        {
            FloatRelation.Unordered => 0x4500,
            FloatRelation.Less => 0x0100,
            FloatRelation.Equal => 0x4000,
            _ => 0,
        };
        return new() { Condition = condition, ConditionMask = 0x4700 };
    }

    private static IEnumerable<FloatOperation> X87Operations()
    {
        static FloatOperation Op(uint id, string name, SoftOperation run, OperandKind kind = OperandKind.Extended) => new(id, name, kind, run);

        yield return Op(1000, "fadd", (in FloatRequest r, ref FloatStatus s) => X(r, F80.Add(A(r), B(r), ref s), s));
        yield return Op(1001, "fsub", (in FloatRequest r, ref FloatStatus s) => X(r, F80.Subtract(A(r), B(r), ref s), s));
        yield return Op(1002, "fsubr", (in FloatRequest r, ref FloatStatus s) => X(r, F80.Subtract(B(r), A(r), ref s), s));
        yield return Op(1003, "fmul", (in FloatRequest r, ref FloatStatus s) => X(r, F80.Multiply(A(r), B(r), ref s), s));
        yield return Op(1004, "fdiv", (in FloatRequest r, ref FloatStatus s) => X(r, F80.Divide(A(r), B(r), ref s), s));
        yield return Op(1005, "fdivr", (in FloatRequest r, ref FloatStatus s) => X(r, F80.Divide(B(r), A(r), ref s), s));
        yield return Op(1006, "fsqrt", (in FloatRequest r, ref FloatStatus s) => X(r, F80.SquareRoot(A(r), ref s), s));
        yield return Op(1007, "fprem", (in FloatRequest r, ref FloatStatus s) => Remainder(r, false, ref s));
        yield return Op(1008, "fprem1", (in FloatRequest r, ref FloatStatus s) => Remainder(r, true, ref s));
        yield return Op(1009, "fscale", (in FloatRequest r, ref FloatStatus s) => X(r, F80.Scale(A(r), B(r), ref s), s));
        yield return Op(1010, "fxtract", (in FloatRequest r, ref FloatStatus s) =>
        {
            F80 significand = F80.Extract(A(r), out F80 exponent, ref s);
            SoftOutcome o = X(r, significand, s);
            o.Second = (s.Unmasked & FloatExceptions.PreComputation) != 0 ? B(r) : exponent;
            return o;
        });
        yield return Op(1011, "frndint", (in FloatRequest r, ref FloatStatus s) => X(r, F80.RoundToIntegral(A(r), ref s), s));
        yield return Op(1012, "fcom", (in FloatRequest r, ref FloatStatus s) => Relation(F80.Compare(A(r), B(r), true, ref s)));
        yield return Op(1013, "fucom", (in FloatRequest r, ref FloatStatus s) => Relation(F80.Compare(A(r), B(r), false, ref s)));
        yield return Op(1014, "fcomi", (in FloatRequest r, ref FloatStatus s) => Flags(F80.Compare(A(r), B(r), true, ref s)));
        yield return Op(1015, "fucomi", (in FloatRequest r, ref FloatStatus s) => Flags(F80.Compare(A(r), B(r), false, ref s)));
        yield return Op(1016, "ftst", (in FloatRequest r, ref FloatStatus s) => Relation(F80.Compare(A(r), F80.Zero, true, ref s)));
        yield return Op(1017, "fxam", (in FloatRequest r, ref FloatStatus s) => new()
        {
            Condition = (A(r).Class switch
            {
                F80Class.Unsupported => 0u,
                F80Class.NaN => 0x100u,
                F80Class.Normal => 0x400u,
                F80Class.Infinity => 0x500u,
                F80Class.Zero => 0x4000u,
                _ => 0x4400u,
            }) | (A(r).Sign ? C1 : 0),
            ConditionMask = 0x4700,
        });
        yield return Op(1018, "fld m32", (in FloatRequest r, ref FloatStatus s) => Load(r, F80.FromF32((uint)r.CLow, ref s), s), OperandKind.ExtendedAndSingle);
        yield return Op(1019, "fld m64", (in FloatRequest r, ref FloatStatus s) => Load(r, F80.FromF64(r.CLow, ref s), s), OperandKind.ExtendedAndDouble);
        yield return Op(1020, "fst m32", (in FloatRequest r, ref FloatStatus s) => M(r, F80.ToF32(A(r), ref s), 0, 4, s));
        yield return Op(1021, "fst m64", (in FloatRequest r, ref FloatStatus s) => M(r, F80.ToF64(A(r), ref s), 0, 8, s));
        yield return Op(1022, "fistp m16", (in FloatRequest r, ref FloatStatus s) => M(r, (ushort)F80.ToInt16(A(r), ref s), 0, 2, s));
        yield return Op(1023, "fistp m32", (in FloatRequest r, ref FloatStatus s) => M(r, (uint)F80.ToInt32(A(r), ref s), 0, 4, s));
        yield return Op(1024, "fistp m64", (in FloatRequest r, ref FloatStatus s) => M(r, (ulong)F80.ToInt64(A(r), ref s), 0, 8, s));
        yield return Op(1025, "fisttp m16", (in FloatRequest r, ref FloatStatus s) => M(r, (ushort)F80.ToInt16Truncated(A(r), ref s), 0, 2, s));
        yield return Op(1026, "fisttp m32", (in FloatRequest r, ref FloatStatus s) => M(r, (uint)F80.ToInt32Truncated(A(r), ref s), 0, 4, s));
        yield return Op(1027, "fisttp m64", (in FloatRequest r, ref FloatStatus s) => M(r, (ulong)F80.ToInt64Truncated(A(r), ref s), 0, 8, s));
        yield return Op(1028, "fild m16", (in FloatRequest r, ref FloatStatus s) => Load(r, F80.FromInt16((short)r.CLow), s), OperandKind.ExtendedAndInteger);
        yield return Op(1029, "fild m32", (in FloatRequest r, ref FloatStatus s) => Load(r, F80.FromInt32((int)r.CLow), s), OperandKind.ExtendedAndInteger);
        yield return Op(1030, "fild m64", (in FloatRequest r, ref FloatStatus s) => Load(r, F80.FromInt64((long)r.CLow), s), OperandKind.ExtendedAndInteger);
        yield return Op(1031, "fbld", (in FloatRequest r, ref FloatStatus s) => Load(r, F80.FromBcd(r.CLow, (ushort)r.CHigh), s), OperandKind.ExtendedAndBcd);
        yield return Op(1032, "fbstp", (in FloatRequest r, ref FloatStatus s) =>
        {
            (ulong low, ushort high) = F80.ToBcd(A(r), ref s);
            return M(r, low, high, 10, s);
        });
        yield return Op(1034, "fchs", (in FloatRequest r, ref FloatStatus s) => X(r, A(r).Negate(), s));
        yield return Op(1035, "fabs", (in FloatRequest r, ref FloatStatus s) => X(r, A(r).Abs(), s));
        yield return Op(1036, "fadd m32", (in FloatRequest r, ref FloatStatus s) => X(r, F80.Add(A(r), F80.OperandF32((uint)r.CLow, ref s), ref s), s), OperandKind.ExtendedAndSingle);
        yield return Op(1037, "fadd m64", (in FloatRequest r, ref FloatStatus s) => X(r, F80.Add(A(r), F80.OperandF64(r.CLow, ref s), ref s), s), OperandKind.ExtendedAndDouble);
        yield return Op(1038, "fdiv m64", (in FloatRequest r, ref FloatStatus s) => X(r, F80.Divide(A(r), F80.OperandF64(r.CLow, ref s), ref s), s), OperandKind.ExtendedAndDouble);
        yield return Op(1039, "fcom m32", (in FloatRequest r, ref FloatStatus s) => Relation(F80.Compare(A(r), F80.OperandF32((uint)r.CLow, ref s), true, ref s)), OperandKind.ExtendedAndSingle);
    }

    /// <summary>The functions chips compute approximately.</summary>
    public static readonly IReadOnlyList<FloatOperation> Transcendental =
    [
        new(1050, "f2xm1", OperandKind.Extended, (in FloatRequest r, ref FloatStatus s) => X(r, F80.TwoToXMinus1(A(r), ref s), s)),
        new(1051, "fyl2x", OperandKind.Extended, (in FloatRequest r, ref FloatStatus s) => Popped(r, F80.YLog2X(A(r), B(r), ref s), s)),
        new(1052, "fyl2xp1", OperandKind.Extended, (in FloatRequest r, ref FloatStatus s) => Popped(r, F80.YLog2XPlus1(A(r), B(r), ref s), s)),
        new(1053, "fptan", OperandKind.Extended, (in FloatRequest r, ref FloatStatus s) =>
        {
            F80 tangent = F80.Tangent(A(r), out bool outOfRange, ref s);
            return Pushed(r, tangent, tangent.IsNaN ? tangent : F80.One, outOfRange, s);
        }),
        new(1054, "fpatan", OperandKind.Extended, (in FloatRequest r, ref FloatStatus s) => Popped(r, F80.ArcTangent(A(r), B(r), ref s), s)),
        new(1055, "fsin", OperandKind.Extended, (in FloatRequest r, ref FloatStatus s) =>
        {
            SoftOutcome o = X(r, F80.Sine(A(r), out bool outOfRange, ref s), s);
            return o with { Condition = o.Condition | (outOfRange ? 0x400u : 0), ConditionMask = 0x600 };
        }),
        new(1056, "fcos", OperandKind.Extended, (in FloatRequest r, ref FloatStatus s) =>
        {
            SoftOutcome o = X(r, F80.Cosine(A(r), out bool outOfRange, ref s), s);
            return o with { Condition = o.Condition | (outOfRange ? 0x400u : 0), ConditionMask = 0x600 };
        }),
        new(1057, "fsincos", OperandKind.Extended, (in FloatRequest r, ref FloatStatus s) =>
        {
            F80 sine = F80.SineCosine(A(r), out F80 cosine, out bool outOfRange, ref s);
            return Pushed(r, sine, cosine, outOfRange, s);
        }),
    ];

    /// <summary>The result replaces ST(1) and ST(0) is popped, unless an unmasked exception stops the instruction.</summary>
    private static SoftOutcome Popped(in FloatRequest r, F80 value, in FloatStatus s)
    {
        SoftOutcome o = X(r, value, s);
        if ((s.Unmasked & FloatExceptions.PreComputation) != 0)
            o.Second = B(r);
        return o;
    }

    private static SoftOutcome Pushed(in FloatRequest r, F80 under, F80 top, bool outOfRange, in FloatStatus s)
    {
        bool stopped = outOfRange || (s.Unmasked & FloatExceptions.PreComputation) != 0;
        SoftOutcome o = X(r, stopped ? A(r) : top, s);
        o.Second = stopped ? B(r) : under;
        o.Condition |= outOfRange ? 0x400u : 0;
        o.ConditionMask = 0x600;
        return o;
    }

    /// <summary>A load that does not happen when an exception is unmasked: the helper freed ST(0), b is next.</summary>
    private static SoftOutcome Load(in FloatRequest r, F80 value, in FloatStatus s)
    {
        if ((s.Unmasked & FloatExceptions.Invalid) != 0)
            value = B(r);
        return new() { Low = value.Significand, High = value.SignExponent, Mask = ulong.MaxValue, ConditionMask = C1 };
    }

    private static SoftOutcome Remainder(in FloatRequest r, bool nearest, ref FloatStatus s)
    {
        SoftOutcome o = X(r, F80.Remainder(A(r), B(r), nearest, out int q, out bool incomplete, ref s), s);
        o.Condition = (uint)((q & 4) << 6 | (q & 2) << 13 | (q & 1) << 9) | (incomplete ? 0x400u : 0);
        o.ConditionMask = 0x4700;
        return o;
    }
}
