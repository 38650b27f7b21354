using Iced.Intel;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>MOV between general registers, memory and immediates; MOVZX, MOVSX, MOVSXD; LEA; XCHG of registers is with the atomics.</summary>
public static unsafe class Move
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Mov, &BindMov);
        r.Add(Mnemonic.Movzx, &BindZeroExtend);
        r.Add(Mnemonic.Movsx, &BindSignExtend);
        r.Add(Mnemonic.Movsxd, &BindSignExtend);
        r.Add(Mnemonic.Lea, &BindLea);
        r.Add(Mnemonic.Nop, &BindNop);
        r.Add(Mnemonic.Endbr64, &BindNop);
        r.Add(Mnemonic.Endbr32, &BindNop);
        r.Add(Mnemonic.Pause, &BindPause);
    }

    private static bool BindMov(ref OpBuilder b)
    {
        for (int i = 0; i < 2; i++)
            if (b.IsRegister(i) && !b.Instruction.GetOpRegister(i).IsGPR())
                return SystemMove.Bind(ref b);
        b.Op->Run = b.OperandSize() switch
        {
            1 => Form<W8>(ref b),
            2 => Form<W16>(ref b),
            4 => Form<W32>(ref b),
            _ => Form<W64>(ref b),
        };
        return true;
    }

    private static delegate*<SoftwareVcpu, CpuState*, Op*, int> Form<TWidth>(ref OpBuilder b) where TWidth : IWidth
    {
        if (b.IsRegister(0))
        {
            b.Op->Dst = b.Offset(0);
            if (b.IsRegister(1))
            {
                b.Op->Src = b.Offset(1);
                return &RegReg<TWidth>;
            }
            if (b.IsMemory(1))
                return b.Memory() switch
                {
                    AddressForm.Flat64 => &Load<TWidth, Flat64>,
                    AddressForm.Flat32 => &Load<TWidth, Flat32>,
                    _ => &Load<TWidth, General>,
                };
            b.Op->Imm = TWidth.Truncate(b.Immediate(1));
            return &RegImm<TWidth>;
        }
        if (b.IsRegister(1))
        {
            b.Op->Src = b.Offset(1);
            return b.Memory() switch
            {
                AddressForm.Flat64 => &Store<TWidth, Flat64>,
                AddressForm.Flat32 => &Store<TWidth, Flat32>,
                _ => &Store<TWidth, General>,
            };
        }
        b.Op->Imm = TWidth.Truncate(b.Immediate(1));
        return b.Memory() switch
        {
            AddressForm.Flat64 => &StoreImm<TWidth, Flat64>,
            AddressForm.Flat32 => &StoreImm<TWidth, Flat32>,
            _ => &StoreImm<TWidth, General>,
        };
    }

    private static int RegReg<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth
    {
        TWidth.SetRegister((byte*)s + op->Dst, TWidth.Get((byte*)s + op->Src));
        return Status.Next;
    }

    private static int RegImm<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth
    {
        TWidth.SetRegister((byte*)s + op->Dst, op->Imm);
        return Status.Next;
    }

    private static int Load<TWidth, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth where TAddress : IAddress
    {
        if (!TAddress.Linear(cpu, s, op, TWidth.Bytes, write: false, out ulong linear)
            || !GuestAccess.Load<TWidth>(cpu, s, op, linear, out ulong value))
            return Status.Fault;
        TWidth.SetRegister((byte*)s + op->Dst, value);
        return Status.Next;
    }

    private static int Store<TWidth, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth where TAddress : IAddress =>
        TAddress.Linear(cpu, s, op, TWidth.Bytes, write: true, out ulong linear)
            && GuestAccess.Store<TWidth>(cpu, s, op, linear, TWidth.Get((byte*)s + op->Src)) ? Status.Next : Status.Fault;

    private static int StoreImm<TWidth, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth where TAddress : IAddress =>
        TAddress.Linear(cpu, s, op, TWidth.Bytes, write: true, out ulong linear)
            && GuestAccess.Store<TWidth>(cpu, s, op, linear, op->Imm) ? Status.Next : Status.Fault;

    private static bool BindZeroExtend(ref OpBuilder b)
    {
        bool fromByte = SourceSize(ref b) == 1;
        b.Op->Run = (b.RegisterSize(0), fromByte) switch
        {
            (2, true) => Extension<ZeroExtend, W16, W8>(ref b),
            (2, false) => Extension<ZeroExtend, W16, W16>(ref b),
            (4, true) => Extension<ZeroExtend, W32, W8>(ref b),
            (4, false) => Extension<ZeroExtend, W32, W16>(ref b),
            (_, true) => Extension<ZeroExtend, W64, W8>(ref b),
            _ => Extension<ZeroExtend, W64, W16>(ref b),
        };
        return true;
    }

    private static bool BindSignExtend(ref OpBuilder b)
    {
        b.Op->Run = (b.RegisterSize(0), SourceSize(ref b)) switch
        {
            (2, 1) => Extension<SignExtend, W16, W8>(ref b),
            (2, _) => Extension<SignExtend, W16, W16>(ref b),
            (4, 1) => Extension<SignExtend, W32, W8>(ref b),
            (4, 2) => Extension<SignExtend, W32, W16>(ref b),
            (4, _) => Extension<SignExtend, W32, W32>(ref b),
            (_, 1) => Extension<SignExtend, W64, W8>(ref b),
            (_, 2) => Extension<SignExtend, W64, W16>(ref b),
            _ => Extension<SignExtend, W64, W32>(ref b),
        };
        return true;
    }

    private static int SourceSize(ref OpBuilder b) => b.IsRegister(1) ? b.RegisterSize(1) : b.Instruction.MemorySize.GetSize();

    private interface IExtension
    {
        static abstract ulong Extend<TFrom>(ulong value) where TFrom : IWidth;
    }

    private readonly struct ZeroExtend : IExtension
    {
        public static ulong Extend<TFrom>(ulong value) where TFrom : IWidth => value;
    }

    private readonly struct SignExtend : IExtension
    {
        public static ulong Extend<TFrom>(ulong value) where TFrom : IWidth => TFrom.SignExtend(value);
    }

    private static delegate*<SoftwareVcpu, CpuState*, Op*, int> Extension<TKind, TTo, TFrom>(ref OpBuilder b)
        where TKind : IExtension where TTo : IWidth where TFrom : IWidth
    {
        b.Op->Dst = b.Offset(0);
        if (b.IsRegister(1))
        {
            b.Op->Src = b.Offset(1);
            return &ExtendReg<TKind, TTo, TFrom>;
        }
        return b.Memory() switch
        {
            AddressForm.Flat64 => &ExtendMem<TKind, TTo, TFrom, Flat64>,
            AddressForm.Flat32 => &ExtendMem<TKind, TTo, TFrom, Flat32>,
            _ => &ExtendMem<TKind, TTo, TFrom, General>,
        };
    }

    private static int ExtendReg<TKind, TTo, TFrom>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TKind : IExtension where TTo : IWidth where TFrom : IWidth
    {
        TTo.SetRegister((byte*)s + op->Dst, TKind.Extend<TFrom>(TFrom.Get((byte*)s + op->Src)));
        return Status.Next;
    }

    private static int ExtendMem<TKind, TTo, TFrom, TAddress>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TKind : IExtension where TTo : IWidth where TFrom : IWidth where TAddress : IAddress
    {
        if (!TAddress.Linear(cpu, s, op, TFrom.Bytes, write: false, out ulong linear)
            || !GuestAccess.Load<TFrom>(cpu, s, op, linear, out ulong value))
            return Status.Fault;
        TTo.SetRegister((byte*)s + op->Dst, TKind.Extend<TFrom>(value));
        return Status.Next;
    }

    private static bool BindLea(ref OpBuilder b)
    {
        b.Op->Dst = b.Offset(0);
        AddressForm form = b.Memory();
        b.Op->Run = (b.RegisterSize(0), form) switch
        {
            (8, AddressForm.Flat64) => &Lea64,
            (2, _) => &Lea<W16>,
            (4, _) => &Lea<W32>,
            _ => &Lea<W64>,
        };
        return true;
    }

    private static int Lea64(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        *(ulong*)((byte*)s + op->Dst) = s->Gpr[op->Base] + (s->Gpr[op->Index] << op->Scale) + op->Disp;
        return Status.Next;
    }

    private static int Lea<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth
    {
        TWidth.SetRegister((byte*)s + op->Dst, General.Offset(s, op));
        return Status.Next;
    }

    private static bool BindNop(ref OpBuilder b)
    {
        b.Op->Run = &Nop;
        return true;
    }

    private static bool BindPause(ref OpBuilder b)
    {
        b.Op->Run = &Pause;
        return true;
    }

    private static int Pause(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        cpu.Pause();
        return Status.Next;
    }

    private static int Nop(SoftwareVcpu cpu, CpuState* s, Op* op) => Status.Next;
}
