using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>Shifts of all elements by one count (an immediate or 64 bits of a register), by a count each, and of the whole lane by bytes.</summary>
internal static unsafe class VectorShifts
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    public static void Register(Binders.Registry r)
    {
        Add<Left16>(r, Mnemonic.Psllw, Mnemonic.Vpsllw);
        Add<Left32>(r, Mnemonic.Pslld, Mnemonic.Vpslld);
        Add<Left64>(r, Mnemonic.Psllq, Mnemonic.Vpsllq);
        Add<Right16>(r, Mnemonic.Psrlw, Mnemonic.Vpsrlw);
        Add<Right32>(r, Mnemonic.Psrld, Mnemonic.Vpsrld);
        Add<Right64>(r, Mnemonic.Psrlq, Mnemonic.Vpsrlq);
        Add<Arithmetic16>(r, Mnemonic.Psraw, Mnemonic.Vpsraw);
        Add<Arithmetic32>(r, Mnemonic.Psrad, Mnemonic.Vpsrad);
        r.Add(Mnemonic.Pslldq, &VectorForms.BindImmediate<LeftBytes>);
        r.Add(Mnemonic.Vpslldq, &VectorForms.BindImmediate<LeftBytes>);
        r.Add(Mnemonic.Psrldq, &VectorForms.BindImmediate<RightBytes>);
        r.Add(Mnemonic.Vpsrldq, &VectorForms.BindImmediate<RightBytes>);
        r.Add(Mnemonic.Vpsllvd, &VectorForms.Bind<Each32<Left32>>);
        r.Add(Mnemonic.Vpsrlvd, &VectorForms.Bind<Each32<Right32>>);
        r.Add(Mnemonic.Vpsravd, &VectorForms.Bind<Each32<Arithmetic32>>);
        r.Add(Mnemonic.Vpsllvq, &VectorForms.Bind<Each64<Left64>>);
        r.Add(Mnemonic.Vpsrlvq, &VectorForms.Bind<Each64<Right64>>);
    }

    /// <summary>A shift of every element by the same count, which may exceed the element.</summary>
    private interface IShift
    {
        static abstract Vector128<byte> Apply(Vector128<byte> value, ulong count);
    }

    private static void Add<TShift>(Binders.Registry r, Mnemonic legacy, Mnemonic vex) where TShift : IShift
    {
        r.Add(legacy, &Bind<TShift>);
        r.Add(vex, &Bind<TShift>);
    }

    private static bool Bind<TShift>(ref OpBuilder b) where TShift : IShift
    {
        if (b.Kind(b.Instruction.OpCount - 1) == OpKind.Immediate8)
            return VectorForms.BindImmediate<ByImmediate<TShift>>(ref b);
        if (!b.Instruction.Op0Register.IsYMM())
            return VectorForms.BindImmediate<ByRegister<TShift>>(ref b);
        // The count operand of a 256-bit shift is 128 bits wide.
        if (!VectorForms.Begin(ref b))
            return false;
        b.Op->Run = (b.Op->Flags & OpFlags.Memory) != 0 ? &Run256<TShift, InMemory<AnyAddress>> : &Run256<TShift, InRegister>;
        return true;
    }

    private static int Run256<TShift, TSource>(SoftwareVcpu cpu, CpuState* s, Op* op) where TShift : IShift where TSource : ISource
    {
        if (!Vex.Ready(cpu, s))
            return Status.Fault;
        if (!TSource.Load(cpu, s, op, out Vector128<byte> count))
            return Status.Fault;
        byte* a = (byte*)s + op->Src2, destination = (byte*)s + op->Dst;
        ulong bits = count.AsUInt64().ToScalar();
        Vector128<byte> low = TShift.Apply(Vector128.Load(a), bits), high = TShift.Apply(Vector128.Load(a + 16), bits);
        low.Store(destination);
        high.Store(destination + 16);
        return Status.Next;
    }

    private readonly struct ByImmediate<TShift> : IVectorImmediate where TShift : IShift
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, int imm) => TShift.Apply(b, (uint)imm);
    }

    private readonly struct ByRegister<TShift> : IVectorImmediate where TShift : IShift
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, int imm) => TShift.Apply(a, b.AsUInt64().ToScalar());
    }

    private readonly struct Left16 : IShift
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> value, ulong count) => count > 15 ? default : (value.AsUInt16() << (int)count).AsByte();
    }

    private readonly struct Left32 : IShift
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> value, ulong count) => count > 31 ? default : (value.AsUInt32() << (int)count).AsByte();
    }

    private readonly struct Left64 : IShift
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> value, ulong count) => count > 63 ? default : (value.AsUInt64() << (int)count).AsByte();
    }

    private readonly struct Right16 : IShift
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> value, ulong count) => count > 15 ? default : (value.AsUInt16() >>> (int)count).AsByte();
    }

    private readonly struct Right32 : IShift
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> value, ulong count) => count > 31 ? default : (value.AsUInt32() >>> (int)count).AsByte();
    }

    private readonly struct Right64 : IShift
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> value, ulong count) => count > 63 ? default : (value.AsUInt64() >>> (int)count).AsByte();
    }

    private readonly struct Arithmetic16 : IShift
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> value, ulong count) => (value.AsInt16() >> (int)Math.Min(count, 15)).AsByte();
    }

    private readonly struct Arithmetic32 : IShift
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> value, ulong count) => (value.AsInt32() >> (int)Math.Min(count, 31)).AsByte();
    }

    /// <summary>Each doubleword of a by the doubleword of b at its place.</summary>
    private readonly struct Each32<TShift> : IVectorBinary where TShift : IShift
    {
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b)
        {
            Vector128<uint> result = default;
            for (int i = 0; i < 4; i++)
                result = result.WithElement(i, TShift.Apply(Vector128.CreateScalar(a.AsUInt32()[i]).AsByte(), b.AsUInt32()[i]).AsUInt32().ToScalar());
            return result.AsByte();
        }
    }

    /// <summary>Each quadword of a by the quadword of b at its place.</summary>
    private readonly struct Each64<TShift> : IVectorBinary where TShift : IShift
    {
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => Vector128.Create(
            TShift.Apply(a, b.AsUInt64()[0]).AsUInt64()[0],
            TShift.Apply(a, b.AsUInt64()[1]).AsUInt64()[1]).AsByte();
    }

    private readonly struct LeftBytes : IVectorImmediate
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, int imm) => ByteShifts.Left(b, imm);
    }

    private readonly struct RightBytes : IVectorImmediate
    {
        [MethodImpl(Inline)]
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, int imm) => ByteShifts.Right(b, imm);
    }
}

/// <summary>A whole 128-bit lane shifted by bytes; 16 and more give zero.</summary>
internal static class ByteShifts
{
    public static Vector128<byte> Left(Vector128<byte> value, int bytes) =>
        bytes > 15 ? default : Wide(value.AsUInt64().ToUInt128() << (bytes * 8));

    public static Vector128<byte> Right(Vector128<byte> value, int bytes) =>
        bytes > 15 ? default : Wide(value.AsUInt64().ToUInt128() >> (bytes * 8));

    private static UInt128 ToUInt128(this Vector128<ulong> value) => new(value[1], value[0]);

    private static Vector128<byte> Wide(UInt128 value) => Vector128.Create((ulong)value, (ulong)(value >> 64)).AsByte();
}
