using System.Runtime.CompilerServices;
using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>SETcc and CMOVcc. A CMOV's memory operand is read, and may fault, whatever the condition.</summary>
public static unsafe class Conditional
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Seto, &BindSet<Condition.O>);
        r.Add(Mnemonic.Setno, &BindSet<Condition.No>);
        r.Add(Mnemonic.Setb, &BindSet<Condition.B>);
        r.Add(Mnemonic.Setae, &BindSet<Condition.Ae>);
        r.Add(Mnemonic.Sete, &BindSet<Condition.E>);
        r.Add(Mnemonic.Setne, &BindSet<Condition.Ne>);
        r.Add(Mnemonic.Setbe, &BindSet<Condition.Be>);
        r.Add(Mnemonic.Seta, &BindSet<Condition.A>);
        r.Add(Mnemonic.Sets, &BindSet<Condition.S>);
        r.Add(Mnemonic.Setns, &BindSet<Condition.Ns>);
        r.Add(Mnemonic.Setp, &BindSet<Condition.P>);
        r.Add(Mnemonic.Setnp, &BindSet<Condition.Np>);
        r.Add(Mnemonic.Setl, &BindSet<Condition.L>);
        r.Add(Mnemonic.Setge, &BindSet<Condition.Ge>);
        r.Add(Mnemonic.Setle, &BindSet<Condition.Le>);
        r.Add(Mnemonic.Setg, &BindSet<Condition.G>);
        r.Add(Mnemonic.Cmovo, &BindMove<Condition.O>);
        r.Add(Mnemonic.Cmovno, &BindMove<Condition.No>);
        r.Add(Mnemonic.Cmovb, &BindMove<Condition.B>);
        r.Add(Mnemonic.Cmovae, &BindMove<Condition.Ae>);
        r.Add(Mnemonic.Cmove, &BindMove<Condition.E>);
        r.Add(Mnemonic.Cmovne, &BindMove<Condition.Ne>);
        r.Add(Mnemonic.Cmovbe, &BindMove<Condition.Be>);
        r.Add(Mnemonic.Cmova, &BindMove<Condition.A>);
        r.Add(Mnemonic.Cmovs, &BindMove<Condition.S>);
        r.Add(Mnemonic.Cmovns, &BindMove<Condition.Ns>);
        r.Add(Mnemonic.Cmovp, &BindMove<Condition.P>);
        r.Add(Mnemonic.Cmovnp, &BindMove<Condition.Np>);
        r.Add(Mnemonic.Cmovl, &BindMove<Condition.L>);
        r.Add(Mnemonic.Cmovge, &BindMove<Condition.Ge>);
        r.Add(Mnemonic.Cmovle, &BindMove<Condition.Le>);
        r.Add(Mnemonic.Cmovg, &BindMove<Condition.G>);
    }

    private static bool BindSet<TCondition>(ref OpBuilder b) where TCondition : ICondition
    {
        if (b.IsRegister(0))
        {
            b.Op->Dst = b.Offset(0);
            b.Op->Run = &SetReg<TCondition>;
            return true;
        }
        b.Op->Run = b.Memory() == AddressForm.Flat64 ? &SetMem<TCondition, Flat64> : &SetMem<TCondition, General>;
        return true;
    }

    private static int SetReg<TCondition>(SoftwareVcpu cpu, CpuState* s, Op* op) where TCondition : ICondition
    {
        *((byte*)s + op->Dst) = TCondition.Test(s) ? (byte)1 : (byte)0;
        return Status.Next;
    }

    private static int SetMem<TCondition, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op) where TCondition : ICondition where TAddress : IAddress =>
        TAddress.Linear(cpu, s, op, 1, write: true, out ulong linear)
            && GuestAccess.Store<W8>(cpu, s, op, linear, TCondition.Test(s) ? 1ul : 0) ? Status.Next : Status.Fault;

    private static bool BindMove<TCondition>(ref OpBuilder b) where TCondition : ICondition
    {
        if (!b.Model.Has(Feature.Cmov))
            return false;
        b.Op->Run = b.RegisterSize(0) switch
        {
            2 => MoveForm<TCondition, W16>(ref b),
            4 => MoveForm<TCondition, W32>(ref b),
            _ => MoveForm<TCondition, W64>(ref b),
        };
        return true;
    }

    private static delegate*<SoftwareVcpu, CpuState*, Op*, int> MoveForm<TCondition, TWidth>(ref OpBuilder b)
        where TCondition : ICondition where TWidth : IWidth
    {
        b.Op->Dst = b.Offset(0);
        if (b.IsRegister(1))
        {
            b.Op->Src = b.Offset(1);
            return &MoveReg<TCondition, TWidth>;
        }
        return b.Memory() == AddressForm.Flat64 ? &MoveMem<TCondition, TWidth, Flat64> : &MoveMem<TCondition, TWidth, General>;
    }

    private static int MoveReg<TCondition, TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TCondition : ICondition where TWidth : IWidth =>
        Move<TCondition, TWidth>(s, (byte*)s + op->Dst, TWidth.Get((byte*)s + op->Src));

    private static int MoveMem<TCondition, TWidth, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TCondition : ICondition where TWidth : IWidth where TAddress : IAddress =>
        TAddress.Linear(cpu, s, op, TWidth.Bytes, write: false, out ulong linear) && GuestAccess.Load<TWidth>(cpu, s, op, linear, out ulong value)
            ? Move<TCondition, TWidth>(s, (byte*)s + op->Dst, value) : Status.Fault;

    /// <summary>A 32-bit destination is zero-extended even when it keeps its value.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int Move<TCondition, TWidth>(CpuState* s, byte* destination, ulong value) where TCondition : ICondition where TWidth : IWidth
    {
        TWidth.SetRegister(destination, TCondition.Test(s) ? value : TWidth.Get(destination));
        return Status.Next;
    }
}
