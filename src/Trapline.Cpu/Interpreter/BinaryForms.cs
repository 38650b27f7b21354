using System.Runtime.CompilerServices;

namespace Trapline.Cpu.Interpreter;

/// <summary>A two-operand integer operation as a type argument: result and flags.</summary>
public unsafe interface IBinaryOperation
{
    /// <summary>False for CMP and TEST, which only set flags.</summary>
    static abstract bool Writes { get; }

    /// <summary>Computes the truncated result of zero-extended operands. Flags are stored by <see cref="SetFlags"/> after the last fault.</summary>
    static abstract ulong Compute<TWidth>(CpuState* s, ulong a, ulong b) where TWidth : IWidth;

    static abstract void SetFlags<TWidth>(CpuState* s, ulong a, ulong b, ulong r) where TWidth : IWidth;
}

/// <summary>The handlers that two-operand operations share: one per combination of register, memory and immediate, width and address form.</summary>
public static unsafe class BinaryForms
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    /// <summary>Picks the form of a two-operand instruction: register or memory first, register, memory or immediate second.</summary>
    public static delegate*<SoftwareVcpu, CpuState*, Op*, int> Bind<TOp, TWidth>(ref OpBuilder b) where TOp : IBinaryOperation where TWidth : IWidth
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
        return BindImmediate<TOp, TWidth>(ref b);
    }

    /// <summary>Picks the form for one register or memory operand; the second is the op's immediate, which the caller has set.</summary>
    public static delegate*<SoftwareVcpu, CpuState*, Op*, int> BindImmediate<TOp, TWidth>(ref OpBuilder b)
        where TOp : IBinaryOperation where TWidth : IWidth
    {
        if (b.IsRegister(0))
        {
            b.Op->Dst = b.Offset(0);
            return &RegImm<TOp, TWidth>;
        }
        return b.Memory() switch
        {
            AddressForm.Flat64 => &MemImm<TOp, TWidth, Flat64>,
            AddressForm.Flat32 => &MemImm<TOp, TWidth, Flat32>,
            _ => &MemImm<TOp, TWidth, General>,
        };
    }


    public static int RegReg<TOp, TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TOp : IBinaryOperation where TWidth : IWidth
    {
        byte* destination = (byte*)s + op->Dst;
        ulong a = TWidth.Get(destination), b = TWidth.Get((byte*)s + op->Src);
        ulong r = TOp.Compute<TWidth>(s, a, b);
        TOp.SetFlags<TWidth>(s, a, b, r);
        if (TOp.Writes)
            TWidth.SetRegister(destination, r);
        return Status.Next;
    }

    public static int RegImm<TOp, TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TOp : IBinaryOperation where TWidth : IWidth
    {
        byte* destination = (byte*)s + op->Dst;
        ulong a = TWidth.Get(destination), b = op->Imm;
        ulong r = TOp.Compute<TWidth>(s, a, b);
        TOp.SetFlags<TWidth>(s, a, b, r);
        if (TOp.Writes)
            TWidth.SetRegister(destination, r);
        return Status.Next;
    }

    public static int RegMem<TOp, TWidth, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op)
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

    public static int MemReg<TOp, TWidth, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TOp : IBinaryOperation where TWidth : IWidth where TAddress : IAddress =>
        Memory<TOp, TWidth, TAddress>(cpu, s, op, TWidth.Get((byte*)s + op->Src));

    public static int MemImm<TOp, TWidth, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TOp : IBinaryOperation where TWidth : IWidth where TAddress : IAddress =>
        Memory<TOp, TWidth, TAddress>(cpu, s, op, op->Imm);

    [MethodImpl(Inline)]
    private static int Memory<TOp, TWidth, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op, ulong b)
        where TOp : IBinaryOperation where TWidth : IWidth where TAddress : IAddress =>
        TAddress.Linear(cpu, s, op, TWidth.Bytes, TOp.Writes, out ulong linear)
            && AtLinear<TOp, TWidth>(cpu, s, op, linear, b, out _) ? Status.Next : Status.Fault;

    /// <summary>Reads memory, computes, writes back (atomically under LOCK) and only then sets the flags. False: a fault is pending.</summary>
    /// <param name="a">What memory held.</param>
    [MethodImpl(Inline)]
    public static bool AtLinear<TOp, TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op, ulong linear, ulong b, out ulong a)
        where TOp : IBinaryOperation where TWidth : IWidth
    {
        ulong r;
        if (!TOp.Writes)
        {
            if (!GuestAccess.Load<TWidth>(cpu, s, op, linear, out a))
                return false;
            TOp.SetFlags<TWidth>(s, a, b, TOp.Compute<TWidth>(s, a, b));
            return true;
        }
        byte* p = GuestAccess.WritePointer(s, linear, TWidth.Bytes);
        if (p == null)
        {
            if (!cpu.LoadForUpdate(linear, TWidth.Bytes, op->Segment, out a))
                return false;
            // The slow load may have made the page hit; else it is MMIO, a crossing or a page with code.
            p = GuestAccess.WritePointer(s, linear, TWidth.Bytes);
            if (p == null)
            {
                if ((op->Flags & OpFlags.Lock) != 0)
                    return AtomicallySlow<TOp, TWidth>(cpu, s, op, linear, b, out a);
                r = TOp.Compute<TWidth>(s, a, b);
                if (!cpu.StoreSlow(linear, TWidth.Bytes, op->Segment, r))
                    return false;
                TOp.SetFlags<TWidth>(s, a, b, r);
                return true;
            }
        }
        if ((op->Flags & OpFlags.Lock) != 0)
        {
            r = Replace<TOp, TWidth>(s, p, b, out a);
        }
        else
        {
            a = TWidth.Get(p);
            r = TOp.Compute<TWidth>(s, a, b);
            TWidth.Set(p, r);
        }
        TOp.SetFlags<TWidth>(s, a, b, r);
        return true;
    }

    /// <summary>Changes a word of RAM as one atomic access.</summary>
    /// <param name="a">What it was.</param>
    /// <returns>What it is.</returns>
    [MethodImpl(Inline)]
    private static ulong Replace<TOp, TWidth>(CpuState* s, byte* p, ulong b, out ulong a) where TOp : IBinaryOperation where TWidth : IWidth
    {
        ulong r;
        do
        {
            a = TWidth.Get(p);
            r = TOp.Compute<TWidth>(s, a, b);
        }
        while (!TWidth.CompareExchange(p, a, r));
        return r;
    }

    /// <summary>
    /// A locked operation where no store is fast: a page with code, which is RAM like any other; MMIO; and a word in two pages, which is atomic only
    /// among its like.
    /// </summary>
    private static bool AtomicallySlow<TOp, TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op, ulong linear, ulong b, out ulong a)
        where TOp : IBinaryOperation where TWidth : IWidth
    {
        ulong r;
        lock (cpu.WideAtomics)
        {
            if (!cpu.LoadForUpdate(linear, TWidth.Bytes, op->Segment, out a))
                return false;
            byte* p = cpu.UpdatePointer(linear, TWidth.Bytes, out ulong gpa);
            if (p == null)
            {
                r = TOp.Compute<TWidth>(s, a, b);
                if (!cpu.StoreSlow(linear, TWidth.Bytes, op->Segment, r))
                    return false;
            }
            else
            {
                r = Replace<TOp, TWidth>(s, p, b, out a);
                cpu.NoteUpdate(gpa, TWidth.Bytes);
            }
        }
        TOp.SetFlags<TWidth>(s, a, b, r);
        return true;
    }
}
