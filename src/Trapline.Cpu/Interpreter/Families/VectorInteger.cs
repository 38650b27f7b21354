using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>Integer operations element by element: sums, differences, comparisons, extremes, averages, signs.</summary>
internal static unsafe class VectorInteger
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    public static void Register(Binders.Registry r)
    {
        Both<Add<byte>>(r, Mnemonic.Paddb, Mnemonic.Vpaddb);
        Both<Add<ushort>>(r, Mnemonic.Paddw, Mnemonic.Vpaddw);
        Both<Add<uint>>(r, Mnemonic.Paddd, Mnemonic.Vpaddd);
        Both<Add<ulong>>(r, Mnemonic.Paddq, Mnemonic.Vpaddq);
        Both<Subtract<byte>>(r, Mnemonic.Psubb, Mnemonic.Vpsubb);
        Both<Subtract<ushort>>(r, Mnemonic.Psubw, Mnemonic.Vpsubw);
        Both<Subtract<uint>>(r, Mnemonic.Psubd, Mnemonic.Vpsubd);
        Both<Subtract<ulong>>(r, Mnemonic.Psubq, Mnemonic.Vpsubq);
        Both<AddSaturated<sbyte>>(r, Mnemonic.Paddsb, Mnemonic.Vpaddsb);
        Both<AddSaturated<short>>(r, Mnemonic.Paddsw, Mnemonic.Vpaddsw);
        Both<AddSaturated<byte>>(r, Mnemonic.Paddusb, Mnemonic.Vpaddusb);
        Both<AddSaturated<ushort>>(r, Mnemonic.Paddusw, Mnemonic.Vpaddusw);
        Both<SubtractSaturated<sbyte>>(r, Mnemonic.Psubsb, Mnemonic.Vpsubsb);
        Both<SubtractSaturated<short>>(r, Mnemonic.Psubsw, Mnemonic.Vpsubsw);
        Both<SubtractSaturated<byte>>(r, Mnemonic.Psubusb, Mnemonic.Vpsubusb);
        Both<SubtractSaturated<ushort>>(r, Mnemonic.Psubusw, Mnemonic.Vpsubusw);
        Both<Equal<byte>>(r, Mnemonic.Pcmpeqb, Mnemonic.Vpcmpeqb);
        Both<Equal<ushort>>(r, Mnemonic.Pcmpeqw, Mnemonic.Vpcmpeqw);
        Both<Equal<uint>>(r, Mnemonic.Pcmpeqd, Mnemonic.Vpcmpeqd);
        Both<Equal<ulong>>(r, Mnemonic.Pcmpeqq, Mnemonic.Vpcmpeqq);
        Both<Greater<sbyte>>(r, Mnemonic.Pcmpgtb, Mnemonic.Vpcmpgtb);
        Both<Greater<short>>(r, Mnemonic.Pcmpgtw, Mnemonic.Vpcmpgtw);
        Both<Greater<int>>(r, Mnemonic.Pcmpgtd, Mnemonic.Vpcmpgtd);
        Both<Greater<long>>(r, Mnemonic.Pcmpgtq, Mnemonic.Vpcmpgtq);
        Both<Minimum<byte>>(r, Mnemonic.Pminub, Mnemonic.Vpminub);
        Both<Minimum<ushort>>(r, Mnemonic.Pminuw, Mnemonic.Vpminuw);
        Both<Minimum<uint>>(r, Mnemonic.Pminud, Mnemonic.Vpminud);
        Both<Minimum<sbyte>>(r, Mnemonic.Pminsb, Mnemonic.Vpminsb);
        Both<Minimum<short>>(r, Mnemonic.Pminsw, Mnemonic.Vpminsw);
        Both<Minimum<int>>(r, Mnemonic.Pminsd, Mnemonic.Vpminsd);
        Both<Maximum<byte>>(r, Mnemonic.Pmaxub, Mnemonic.Vpmaxub);
        Both<Maximum<ushort>>(r, Mnemonic.Pmaxuw, Mnemonic.Vpmaxuw);
        Both<Maximum<uint>>(r, Mnemonic.Pmaxud, Mnemonic.Vpmaxud);
        Both<Maximum<sbyte>>(r, Mnemonic.Pmaxsb, Mnemonic.Vpmaxsb);
        Both<Maximum<short>>(r, Mnemonic.Pmaxsw, Mnemonic.Vpmaxsw);
        Both<Maximum<int>>(r, Mnemonic.Pmaxsd, Mnemonic.Vpmaxsd);
        Both<Average<byte>>(r, Mnemonic.Pavgb, Mnemonic.Vpavgb);
        Both<Average<ushort>>(r, Mnemonic.Pavgw, Mnemonic.Vpavgw);
        Both<Absolute<sbyte>>(r, Mnemonic.Pabsb, Mnemonic.Vpabsb);
        Both<Absolute<short>>(r, Mnemonic.Pabsw, Mnemonic.Vpabsw);
        Both<Absolute<int>>(r, Mnemonic.Pabsd, Mnemonic.Vpabsd);
        Both<Sign<sbyte>>(r, Mnemonic.Psignb, Mnemonic.Vpsignb);
        Both<Sign<short>>(r, Mnemonic.Psignw, Mnemonic.Vpsignw);
        Both<Sign<int>>(r, Mnemonic.Psignd, Mnemonic.Vpsignd);
    }

    private static void Both<TOperation>(Binders.Registry r, Mnemonic legacy, Mnemonic vex) where TOperation : IVectorBinary
    {
        r.Add(legacy, &VectorForms.Bind<TOperation>);
        r.Add(vex, &VectorForms.Bind<TOperation>);
    }

    private readonly struct Add<T> : IVectorBinary where T : unmanaged
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => (a.As<byte, T>() + b.As<byte, T>()).AsByte();
    }

    private readonly struct Subtract<T> : IVectorBinary where T : unmanaged
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => (a.As<byte, T>() - b.As<byte, T>()).AsByte();
    }

    private readonly struct AddSaturated<T> : IVectorBinary where T : unmanaged
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => Vector128.AddSaturate(a.As<byte, T>(), b.As<byte, T>()).AsByte();
    }

    private readonly struct SubtractSaturated<T> : IVectorBinary where T : unmanaged
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) =>
            Vector128.SubtractSaturate(a.As<byte, T>(), b.As<byte, T>()).AsByte();
    }

    private readonly struct Equal<T> : IVectorBinary where T : unmanaged
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => Vector128.Equals(a.As<byte, T>(), b.As<byte, T>()).AsByte();
    }

    private readonly struct Greater<T> : IVectorBinary where T : unmanaged
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => Vector128.GreaterThan(a.As<byte, T>(), b.As<byte, T>()).AsByte();
    }

    private readonly struct Minimum<T> : IVectorBinary where T : unmanaged
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => Vector128.Min(a.As<byte, T>(), b.As<byte, T>()).AsByte();
    }

    private readonly struct Maximum<T> : IVectorBinary where T : unmanaged
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => Vector128.Max(a.As<byte, T>(), b.As<byte, T>()).AsByte();
    }

    /// <summary>Rounded up: (a | b) - ((a ^ b) >> 1).</summary>
    private readonly struct Average<T> : IVectorBinary where T : unmanaged
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) =>
            ((a | b).As<byte, T>() - ((a ^ b).As<byte, T>() >>> 1)).AsByte();
    }

    /// <summary>The most negative value stays as it is.</summary>
    private readonly struct Absolute<T> : IVectorBinary where T : unmanaged
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b)
        {
            Vector128<T> value = b.As<byte, T>();
            Vector128<T> negative = Vector128.LessThan(value, Vector128<T>.Zero);
            return ((value ^ negative) - negative).AsByte();
        }
    }

    private readonly struct Sign<T> : IVectorBinary where T : unmanaged
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b)
        {
            Vector128<T> value = a.As<byte, T>(), sign = b.As<byte, T>();
            Vector128<T> negative = Vector128.LessThan(sign, Vector128<T>.Zero);
            return Vector128.AndNot((value ^ negative) - negative, Vector128.Equals(sign, Vector128<T>.Zero)).AsByte();
        }
    }
}
