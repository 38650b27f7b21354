using System.Runtime.CompilerServices;
using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>XCHG (atomic with memory even without LOCK), XADD, CMPXCHG, CMPXCHG8B, CMPXCHG16B.</summary>
/// <remarks>Under LOCK, RAM is changed with the host's own atomic operations; CMPXCHG16B too, where the host is an x86-64.</remarks>
public static unsafe class Atomics
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Xchg, &BindExchange);
        r.Add(Mnemonic.Xadd, &BindExchangeAdd);
        r.Add(Mnemonic.Cmpxchg, &BindCompareExchange);
        r.Add(Mnemonic.Cmpxchg8b, &BindCompareExchange8);
        r.Add(Mnemonic.Cmpxchg16b, &BindCompareExchange16);
    }

    /// <summary>Memory takes the second operand; no flags.</summary>
    private readonly struct Replace : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => b;
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth { }
    }

    private readonly struct Add : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => W.Truncate(a + b);
        [MethodImpl(Inline)] public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth => Flags.SetAdd(s, a, b, r, W.SignExtend(r), W.Bits);
    }

    /// <summary>Memory takes the source register if it equals the accumulator, else itself: it is written, and must be writable, either way.</summary>
    private readonly struct ReplaceIfEqual : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        [MethodImpl(Inline)] public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => a == W.Get(&s->Gpr[0]) ? b : a;

        [MethodImpl(Inline)]
        public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth
        {
            ulong accumulator = W.Get(&s->Gpr[0]);
            ulong difference = W.Truncate(accumulator - a);
            Flags.SetSub(s, accumulator, a, difference, W.SignExtend(difference), W.Bits);
        }
    }

    private static bool BindExchange(ref OpBuilder b)
    {
        b.Op->Run = b.OperandSize() switch
        {
            1 => ExchangeForm<W8>(ref b),
            2 => ExchangeForm<W16>(ref b),
            4 => ExchangeForm<W32>(ref b),
            _ => ExchangeForm<W64>(ref b),
        };
        return true;
    }

    private static delegate*<SoftwareVcpu, CpuState*, Op*, int> ExchangeForm<TWidth>(ref OpBuilder b) where TWidth : IWidth
    {
        if (b.IsMemory(0))
        {
            b.Op->Flags |= OpFlags.Lock;
            b.Op->Src = b.Offset(1);
            return b.Memory() == AddressForm.Flat64 ? &ExchangeMem<TWidth, Flat64> : &ExchangeMem<TWidth, General>;
        }
        b.Op->Dst = b.Offset(0);
        b.Op->Src = b.Offset(1);
        return &ExchangeReg<TWidth>;
    }

    private static int ExchangeReg<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth
    {
        byte* x = (byte*)s + op->Dst, y = (byte*)s + op->Src;
        ulong a = TWidth.Get(x), b = TWidth.Get(y);
        TWidth.SetRegister(x, b);
        TWidth.SetRegister(y, a);
        return Status.Next;
    }

    private static int ExchangeMem<TWidth, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth where TAddress : IAddress
    {
        byte* register = (byte*)s + op->Src;
        if (!TAddress.Linear(cpu, s, op, TWidth.Bytes, write: true, out ulong linear)
            || !BinaryForms.AtLinear<Replace, TWidth>(cpu, s, op, linear, TWidth.Get(register), out ulong old))
            return Status.Fault;
        TWidth.SetRegister(register, old);
        return Status.Next;
    }

    private static bool BindExchangeAdd(ref OpBuilder b)
    {
        b.Op->Run = b.OperandSize() switch { 1 => AddForm<W8>(ref b), 2 => AddForm<W16>(ref b), 4 => AddForm<W32>(ref b), _ => AddForm<W64>(ref b) };
        return true;
    }

    private static delegate*<SoftwareVcpu, CpuState*, Op*, int> AddForm<TWidth>(ref OpBuilder b) where TWidth : IWidth
    {
        b.Op->Src = b.Offset(1);
        if (b.IsRegister(0))
        {
            b.Op->Dst = b.Offset(0);
            return &AddReg<TWidth>;
        }
        return b.Memory() == AddressForm.Flat64 ? &AddMem<TWidth, Flat64> : &AddMem<TWidth, General>;
    }

    private static int AddReg<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth
    {
        byte* x = (byte*)s + op->Dst, y = (byte*)s + op->Src;
        ulong a = TWidth.Get(x), b = TWidth.Get(y);
        ulong r = Add.Compute<TWidth>(s, a, b);
        Add.SetFlags<TWidth>(s, a, b, r);
        TWidth.SetRegister(y, a);
        TWidth.SetRegister(x, r); // last: XADD of a register with itself doubles it
        return Status.Next;
    }

    private static int AddMem<TWidth, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth where TAddress : IAddress
    {
        byte* register = (byte*)s + op->Src;
        if (!TAddress.Linear(cpu, s, op, TWidth.Bytes, write: true, out ulong linear)
            || !BinaryForms.AtLinear<Add, TWidth>(cpu, s, op, linear, TWidth.Get(register), out ulong old))
            return Status.Fault;
        TWidth.SetRegister(register, old);
        return Status.Next;
    }

    private static bool BindCompareExchange(ref OpBuilder b)
    {
        b.Op->Run = b.OperandSize() switch
        {
            1 => CompareForm<W8>(ref b),
            2 => CompareForm<W16>(ref b),
            4 => CompareForm<W32>(ref b),
            _ => CompareForm<W64>(ref b),
        };
        return true;
    }

    private static delegate*<SoftwareVcpu, CpuState*, Op*, int> CompareForm<TWidth>(ref OpBuilder b) where TWidth : IWidth
    {
        b.Op->Src = b.Offset(1);
        if (b.IsRegister(0))
        {
            b.Op->Dst = b.Offset(0);
            return &CompareReg<TWidth>;
        }
        return b.Memory() == AddressForm.Flat64 ? &CompareMem<TWidth, Flat64> : &CompareMem<TWidth, General>;
    }

    private static int CompareReg<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth
    {
        byte* destination = (byte*)s + op->Dst;
        ulong a = TWidth.Get(destination), b = TWidth.Get((byte*)s + op->Src);
        bool equal = a == TWidth.Get(&s->Gpr[0]);
        ReplaceIfEqual.SetFlags<TWidth>(s, a, b, a);
        if (equal)
            TWidth.SetRegister(destination, b);
        else
            TWidth.SetRegister(&s->Gpr[0], a);
        return Status.Next;
    }

    private static int CompareMem<TWidth, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth where TAddress : IAddress
    {
        if (!TAddress.Linear(cpu, s, op, TWidth.Bytes, write: true, out ulong linear)
            || !BinaryForms.AtLinear<ReplaceIfEqual, TWidth>(cpu, s, op, linear, TWidth.Get((byte*)s + op->Src), out ulong old))
            return Status.Fault;
        if (old != TWidth.Get(&s->Gpr[0]))
            TWidth.SetRegister(&s->Gpr[0], old);
        return Status.Next;
    }

    private static bool BindCompareExchange8(ref OpBuilder b)
    {
        b.Memory();
        b.Op->Run = &CompareExchange8;
        return b.Model.Has(Feature.Cx8);
    }

    /// <summary>EDX:EAX against 8 bytes of memory, replaced by ECX:EBX.</summary>
    private readonly struct ReplacePairIfEqual : IBinaryOperation
    {
        public static bool Writes { [MethodImpl(Inline)] get => true; }
        public static ulong Compute<W>(CpuState* s, ulong a, ulong b) where W : IWidth => a == ((s->Gpr[2] << 32) | (uint)s->Gpr[0]) ? b : a;
        public static void SetFlags<W>(CpuState* s, ulong a, ulong b, ulong r) where W : IWidth { }
    }

    private static int CompareExchange8(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        ulong expected = (s->Gpr[2] << 32) | (uint)s->Gpr[0], replacement = (s->Gpr[1] << 32) | (uint)s->Gpr[3];
        if (!General.Linear(cpu, s, op, 8, write: true, out ulong linear)
            || !BinaryForms.AtLinear<ReplacePairIfEqual, W64>(cpu, s, op, linear, replacement, out ulong old))
            return Status.Fault;
        Flags.SetZero(s, old == expected);
        if (old != expected)
        {
            s->Gpr[0] = (uint)old;
            s->Gpr[2] = old >> 32;
        }
        return Status.Next;
    }

    private static bool BindCompareExchange16(ref OpBuilder b)
    {
        b.Memory();
        b.Op->Run = &CompareExchange16;
        return b.Model.Has(Feature.Cx16);
    }

    private static int CompareExchange16(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!General.Linear(cpu, s, op, 16, write: true, out ulong linear))
            return Status.Fault;
        if ((linear & 15) != 0)
            return cpu.GeneralProtection();
        // Elsewhere the machine's lock keeps siblings apart.
        lock (cpu.WideAtomics)
        {
            ulong* old = stackalloc ulong[2] { s->Gpr[0], s->Gpr[2] };
            // Faults as a write would, before anything is read.
            if (!cpu.Probe(linear, 16, op->Segment, write: true))
                return Status.Fault;
            bool equal;
            byte* p = cpu.UpdatePointer(linear, 16, out ulong gpa);
            if (p != null)
            {
                equal = WideCompareExchange.Replace(p, old, s->Gpr[3], s->Gpr[1]);
                cpu.NoteUpdate(gpa, 16);
            }
            else if (!cpu.TransferSlow(linear, (byte*)old, 16, op->Segment, store: false))
            {
                return Status.Fault;
            }
            else
            {
                equal = old[0] == s->Gpr[0] && old[1] == s->Gpr[2];
                ulong* next = stackalloc ulong[2] { equal ? s->Gpr[3] : old[0], equal ? s->Gpr[1] : old[1] };
                if (!cpu.TransferSlow(linear, (byte*)next, 16, op->Segment, store: true))
                    return Status.Fault;
            }
            Flags.SetZero(s, equal);
            if (!equal)
            {
                s->Gpr[0] = old[0];
                s->Gpr[2] = old[1];
            }
            return Status.Next;
        }
    }
}
