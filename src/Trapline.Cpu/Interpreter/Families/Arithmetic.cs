using System.Runtime.CompilerServices;
using Iced.Intel;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>A two-operand integer operation as a type argument: result and flags.</summary>
public unsafe interface IBinaryOperation
{
    /// <summary>False for CMP and TEST, which only set flags.</summary>
    static abstract bool Writes { get; }

    /// <summary>Computes the truncated result of zero-extended operands. Flags are stored by <see cref="SetFlags"/> after the last fault.</summary>
    static abstract ulong Compute<TWidth>(CpuState* s, ulong a, ulong b) where TWidth : IWidth;

    static abstract void SetFlags<TWidth>(CpuState* s, ulong a, ulong b, ulong r) where TWidth : IWidth;
}

/// <summary>ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST in every form: register, memory and immediate operands, with LOCK.</summary>
public static unsafe class Arithmetic
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Add, &Bind<Add>);
        r.Add(Mnemonic.Or, &Bind<Or>);
        r.Add(Mnemonic.Adc, &Bind<Adc>);
        r.Add(Mnemonic.Sbb, &Bind<Sbb>);
        r.Add(Mnemonic.And, &Bind<And>);
        r.Add(Mnemonic.Sub, &Bind<Sub>);
        r.Add(Mnemonic.Xor, &Bind<Xor>);
        r.Add(Mnemonic.Cmp, &Bind<Cmp>);
        r.Add(Mnemonic.Test, &Bind<Test>);
    }

    private readonly struct Add : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => W.Truncate(a + b);
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth => Flags.SetAdd(s, a, b, r, W.SignExtend(r), W.Bits);
    }

    private readonly struct Adc : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => W.Truncate(a + b + Flags.CarryBit(s));
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth => Flags.SetAdd(s, a, b, r, W.SignExtend(r), W.Bits);
    }

    private readonly struct Sub : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => W.Truncate(a - b);
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth => Flags.SetSub(s, a, b, r, W.SignExtend(r), W.Bits);
    }

    private readonly struct Sbb : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => W.Truncate(a - b - Flags.CarryBit(s));
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth => Flags.SetSub(s, a, b, r, W.SignExtend(r), W.Bits);
    }

    private readonly struct Cmp : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => false; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => W.Truncate(a - b);
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth => Flags.SetSub(s, a, b, r, W.SignExtend(r), W.Bits);
    }

    private readonly struct And : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => a & b;
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth => Flags.SetLogic(s, W.SignExtend(r));
    }

    private readonly struct Or : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => a | b;
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth => Flags.SetLogic(s, W.SignExtend(r));
    }

    private readonly struct Xor : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => a ^ b;
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth => Flags.SetLogic(s, W.SignExtend(r));
    }

    private readonly struct Test : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => false; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => a & b;
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth => Flags.SetLogic(s, W.SignExtend(r));
    }

    private static bool Bind<TOp>(ref OpBuilder b) where TOp : IBinaryOperation
    {
        b.Op->Run = b.OperandSize() switch
        {
            1 => Form<TOp, W8>(ref b),
            2 => Form<TOp, W16>(ref b),
            4 => Form<TOp, W32>(ref b),
            _ => Form<TOp, W64>(ref b),
        };
        return true;
    }

    private static delegate*<SoftwareVcpu, CpuState*, Op*, int> Form<TOp, TWidth>(ref OpBuilder b) where TOp : IBinaryOperation where TWidth : IWidth
    {
        if (b.IsRegister(0))
        {
            b.Op->Dst = b.Offset(0);
            if (b.IsRegister(1))
            {
                b.Op->Src = b.Offset(1);
                return &RegReg<TOp, TWidth>;
            }
            if (b.IsMemory(1))
                return b.Memory() switch
                {
                    AddressForm.Flat64 => &RegMem<TOp, TWidth, Flat64>,
                    AddressForm.Flat32 => &RegMem<TOp, TWidth, Flat32>,
                    _ => &RegMem<TOp, TWidth, General>,
                };
            b.Op->Imm = TWidth.Truncate(b.Immediate(1));
            return &RegImm<TOp, TWidth>;
        }
        if (b.IsRegister(1))
        {
            b.Op->Src = b.Offset(1);
            return b.Memory() switch
            {
                AddressForm.Flat64 => &MemReg<TOp, TWidth, Flat64>,
                AddressForm.Flat32 => &MemReg<TOp, TWidth, Flat32>,
                _ => &MemReg<TOp, TWidth, General>,
            };
        }
        b.Op->Imm = TWidth.Truncate(b.Immediate(1));
        return b.Memory() switch
        {
            AddressForm.Flat64 => &MemImm<TOp, TWidth, Flat64>,
            AddressForm.Flat32 => &MemImm<TOp, TWidth, Flat32>,
            _ => &MemImm<TOp, TWidth, General>,
        };
    }

    private static int RegReg<TOp, TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TOp : IBinaryOperation where TWidth : IWidth
    {
        byte* destination = (byte*)s + op->Dst;
        ulong a = TWidth.Get(destination), b = TWidth.Get((byte*)s + op->Src);
        ulong r = TOp.Compute<TWidth>(s, a, b);
        TOp.SetFlags<TWidth>(s, a, b, r);
        if (TOp.Writes)
            TWidth.SetRegister(destination, r);
        return Status.Next;
    }

    private static int RegImm<TOp, TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TOp : IBinaryOperation where TWidth : IWidth
    {
        byte* destination = (byte*)s + op->Dst;
        ulong a = TWidth.Get(destination), b = op->Imm;
        ulong r = TOp.Compute<TWidth>(s, a, b);
        TOp.SetFlags<TWidth>(s, a, b, r);
        if (TOp.Writes)
            TWidth.SetRegister(destination, r);
        return Status.Next;
    }

    private static int RegMem<TOp, TWidth, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TOp : IBinaryOperation where TWidth : IWidth where TAddress : IAddress
    {
        if (!TAddress.Linear(cpu, s, op, TWidth.Bytes, write: false, out ulong linear)
            || !GuestAccess.Load<TWidth>(cpu, s, op, linear, out ulong b))
            return Status.Fault;
        byte* destination = (byte*)s + op->Dst;
        ulong a = TWidth.Get(destination);
        ulong r = TOp.Compute<TWidth>(s, a, b);
        TOp.SetFlags<TWidth>(s, a, b, r);
        if (TOp.Writes)
            TWidth.SetRegister(destination, r);
        return Status.Next;
    }

    private static int MemReg<TOp, TWidth, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TOp : IBinaryOperation where TWidth : IWidth where TAddress : IAddress =>
        Memory<TOp, TWidth, TAddress>(cpu, s, op, TWidth.Get((byte*)s + op->Src));

    private static int MemImm<TOp, TWidth, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TOp : IBinaryOperation where TWidth : IWidth where TAddress : IAddress =>
        Memory<TOp, TWidth, TAddress>(cpu, s, op, op->Imm);

    [MethodImpl(Inline)]
    private static int Memory<TOp, TWidth, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op, ulong b)
        where TOp : IBinaryOperation where TWidth : IWidth where TAddress : IAddress
    {
        if (!TAddress.Linear(cpu, s, op, TWidth.Bytes, TOp.Writes, out ulong linear))
            return Status.Fault;
        if (!TOp.Writes)
        {
            if (!GuestAccess.Load<TWidth>(cpu, s, op, linear, out ulong read))
                return Status.Fault;
            TOp.SetFlags<TWidth>(s, read, b, TOp.Compute<TWidth>(s, read, b));
            return Status.Next;
        }
        ulong a, r;
        byte* p = GuestAccess.WritePointer(s, linear, TWidth.Bytes);
        if (p == null)
        {
            if (!cpu.LoadForUpdate(linear, TWidth.Bytes, op->Segment, out a))
                return Status.Fault;
            // The slow load may have made the page hit; else it is MMIO, a crossing or a page with code.
            p = GuestAccess.WritePointer(s, linear, TWidth.Bytes);
            if (p == null)
            {
                r = TOp.Compute<TWidth>(s, a, b);
                if (!cpu.StoreSlow(linear, TWidth.Bytes, op->Segment, r))
                    return Status.Fault;
                TOp.SetFlags<TWidth>(s, a, b, r);
                return Status.Next;
            }
        }
        if ((op->Flags & OpFlags.Lock) != 0)
        {
            do
            {
                a = TWidth.Get(p);
                r = TOp.Compute<TWidth>(s, a, b);
            }
            while (!TWidth.CompareExchange(p, a, r));
        }
        else
        {
            a = TWidth.Get(p);
            r = TOp.Compute<TWidth>(s, a, b);
            TWidth.Set(p, r);
        }
        TOp.SetFlags<TWidth>(s, a, b, r);
        return Status.Next;
    }
}
