using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>LGDT, LIDT, SGDT, SIDT, LLDT, SLDT, LTR, STR, VERR, VERW, LAR, LSL, ARPL.</summary>
public static unsafe class DescriptorTables
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Lgdt, &BindTable);
        r.Add(Mnemonic.Lidt, &BindTable);
        r.Add(Mnemonic.Sgdt, &BindTable);
        r.Add(Mnemonic.Sidt, &BindTable);
        r.Add(Mnemonic.Lldt, &BindSelector);
        r.Add(Mnemonic.Ltr, &BindSelector);
        r.Add(Mnemonic.Sldt, &BindSelector);
        r.Add(Mnemonic.Str, &BindSelector);
        r.Add(Mnemonic.Verr, &BindSelector);
        r.Add(Mnemonic.Verw, &BindSelector);
        r.Add(Mnemonic.Lar, &BindInspect);
        r.Add(Mnemonic.Lsl, &BindInspect);
        r.Add(Mnemonic.Arpl, &BindAdjust);
    }

    /// <summary>CR4.UMIP keeps outer rings from reading system registers.</summary>
    internal static bool IsPrevented(CpuState* s) => s->Cpl != 0 && (s->Cr4 & Cr4.Umip) != 0;

    /// <summary>Writes a value to a register operand of 2, 4 or 8 bytes.</summary>
    internal static void SetRegister(CpuState* s, Op* op, ulong value)
    {
        byte* to = (byte*)s + op->Dst;
        if (op->OperandSize == 2)
            *(ushort*)to = (ushort)value;
        else
            *(ulong*)to = op->OperandSize == 4 ? (uint)value : value;
    }

    private static bool BindTable(ref OpBuilder b)
    {
        b.EndsBlock = true;
        b.Memory();
        Mnemonic mnemonic = b.Instruction.Mnemonic;
        // 64-bit code: 8-byte bases; a 16-bit operand loads 24 bits of base (SDM Vol. 2, LGDT).
        b.Op->OperandSize = (byte)(b.Is64 ? 8 : b.Instruction.Code is Code.Lgdt_m1632_16 or Code.Lidt_m1632_16 or Code.Sgdt_m1632_16 or Code.Sidt_m1632_16 ? 2 : 4);
        b.Op->Imm = mnemonic is Mnemonic.Lidt or Mnemonic.Sidt ? 1u : 0u;
        b.Op->Run = mnemonic is Mnemonic.Lgdt or Mnemonic.Lidt ? &LoadTable : &StoreTable;
        return true;
    }

    private static int LoadTable(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (s->Cpl != 0)
            return cpu.GeneralProtection();
        int size = op->OperandSize == 8 ? 10 : 6;
        ulong* image = stackalloc ulong[2];
        image[0] = image[1] = 0;
        if (!General.Linear(cpu, s, op, size, write: false, out ulong linear)
            || !cpu.TransferSlow(linear, (byte*)image, size, op->Segment, store: false))
            return Status.Fault;
        ushort limit = (ushort)image[0];
        ulong at = (image[0] >> 16) | (image[1] << 48);
        if (op->OperandSize == 2)
            at &= 0xFF_FFFF;
        if (op->OperandSize == 8 && !SoftwareVcpu.IsCanonical(at))
            return cpu.GeneralProtection();
        if (op->Imm != 0)
        {
            s->IdtrBase = at;
            s->IdtrLimit = limit;
        }
        else
        {
            s->GdtrBase = at;
            s->GdtrLimit = limit;
        }
        s->Rip = op->NextRip;
        return Status.BlockEnd;
    }

    private static int StoreTable(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (IsPrevented(s))
            return cpu.GeneralProtection();
        int size = op->OperandSize == 8 ? 10 : 6;
        ulong limit = op->Imm != 0 ? s->IdtrLimit : s->GdtrLimit;
        ulong at = op->Imm != 0 ? s->IdtrBase : s->GdtrBase;
        ulong* image = stackalloc ulong[2];
        image[0] = limit | (at << 16);
        image[1] = at >> 48;
        if (!General.Linear(cpu, s, op, size, write: true, out ulong linear)
            || !cpu.TransferSlow(linear, (byte*)image, size, op->Segment, store: true))
            return Status.Fault;
        s->Rip = op->NextRip;
        return Status.BlockEnd;
    }

    private static bool BindSelector(ref OpBuilder b)
    {
        Op* op = b.Op;
        if (b.IsRegister(0))
        {
            op->Src = op->Dst = b.Offset(0);
            op->OperandSize = (byte)b.RegisterSize(0);
        }
        else
        {
            b.Memory();
        }
        Mnemonic mnemonic = b.Instruction.Mnemonic;
        b.EndsBlock = mnemonic is Mnemonic.Lldt or Mnemonic.Ltr;
        op->Run = mnemonic switch
        {
            Mnemonic.Lldt => &LoadLdt,
            Mnemonic.Ltr => &LoadTask,
            Mnemonic.Sldt => &StoreLdt,
            Mnemonic.Str => &StoreTask,
            Mnemonic.Verr => &VerifyRead,
            _ => &VerifyWrite,
        };
        return true;
    }

    /// <summary>These instructions do not exist in real and virtual-8086 mode.</summary>
    private static bool NotHere(SoftwareVcpu cpu) => !cpu.Protected || cpu.Virtual8086;

    private static bool Source(SoftwareVcpu cpu, CpuState* s, Op* op, out ushort selector)
    {
        ulong value = *(ushort*)((byte*)s + op->Src);
        selector = (ushort)value;
        if ((op->Flags & OpFlags.Memory) == 0)
            return true;
        bool ok = General.Linear(cpu, s, op, 2, write: false, out ulong linear) && GuestAccess.Load<W16>(cpu, s, op, linear, out value);
        selector = (ushort)value;
        return ok;
    }

    private static int LoadLdt(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (NotHere(cpu))
            return cpu.Undefined();
        if (s->Cpl != 0)
            return cpu.GeneralProtection();
        if (!Source(cpu, s, op, out ushort selector) || !cpu.LoadLdt(selector))
            return Status.Fault;
        s->Rip = op->NextRip;
        return Status.BlockEnd;
    }

    private static int LoadTask(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (NotHere(cpu))
            return cpu.Undefined();
        if (s->Cpl != 0)
            return cpu.GeneralProtection();
        if (!Source(cpu, s, op, out ushort selector) || !cpu.LoadTaskRegister(selector))
            return Status.Fault;
        s->Rip = op->NextRip;
        return Status.BlockEnd;
    }

    private static int StoreLdt(SoftwareVcpu cpu, CpuState* s, Op* op) => Store(cpu, s, op, s->Ldtr.Selector);

    private static int StoreTask(SoftwareVcpu cpu, CpuState* s, Op* op) => Store(cpu, s, op, s->Tr.Selector);

    private static int Store(SoftwareVcpu cpu, CpuState* s, Op* op, ushort selector)
    {
        if (NotHere(cpu))
            return cpu.Undefined();
        if (IsPrevented(s))
            return cpu.GeneralProtection();
        if ((op->Flags & OpFlags.Memory) != 0)
            return General.Linear(cpu, s, op, 2, write: true, out ulong linear)
                && GuestAccess.Store<W16>(cpu, s, op, linear, selector) ? Status.Next : Status.Fault;
        SetRegister(s, op, selector);
        return Status.Next;
    }

    private static void SetZero(CpuState* s, bool zero) =>
        Flags.SetArithmetic(s, zero ? Flags.Arithmetic(s) | Rflags.Zf : Flags.Arithmetic(s) & ~Rflags.Zf);

    private static int VerifyRead(SoftwareVcpu cpu, CpuState* s, Op* op) => Verify(cpu, s, op, write: false);

    private static int VerifyWrite(SoftwareVcpu cpu, CpuState* s, Op* op) => Verify(cpu, s, op, write: true);

    private static int Verify(SoftwareVcpu cpu, CpuState* s, Op* op, bool write)
    {
        if (NotHere(cpu))
            return cpu.Undefined();
        if (!Source(cpu, s, op, out ushort selector) || !Find(cpu, selector, out Descriptor d, out bool found))
            return Status.Fault;
        bool usable = found && !d.IsSystem && (write ? d.IsWritableData : d.IsReadable) && Reachable(s, selector, d);
        SetZero(s, usable);
        return Status.Next;
    }

    /// <summary>Data and non-conforming code need CPL and RPL at most DPL.</summary>
    private static bool Reachable(CpuState* s, ushort selector, in Descriptor d) =>
        (d.IsCode && d.IsConforming) || ((uint)s->Cpl <= d.Dpl && (selector & 3u) <= d.Dpl);

    /// <summary>Reads a descriptor if the selector names one. False: the table itself faulted.</summary>
    private static bool Find(SoftwareVcpu cpu, ushort selector, out Descriptor d, out bool found)
    {
        d = default;
        found = !SoftwareVcpu.IsNull(selector) && cpu.DescriptorAddress(selector, 8, out d.Address);
        return !found || cpu.LoadSystem(d.Address, 8, out d.Raw);
    }

    private static bool BindInspect(ref OpBuilder b)
    {
        Op* op = b.Op;
        op->Dst = b.Offset(0);
        op->OperandSize = (byte)b.RegisterSize(0);
        if (b.IsRegister(1))
            op->Src = b.Offset(1);
        else
            b.Memory();
        op->Run = b.Instruction.Mnemonic == Mnemonic.Lar ? &LoadRights : &LoadLimit;
        return true;
    }

    private static int LoadRights(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (NotHere(cpu))
            return cpu.Undefined();
        if (!Source(cpu, s, op, out ushort selector) || !Find(cpu, selector, out Descriptor d, out bool found))
            return Status.Fault;
        if (found && d.IsSystem)
            found = d.Type switch
            {
                SystemType.Ldt or SystemType.Tss32 or SystemType.Tss32Busy or SystemType.CallGate32 => true,
                SystemType.Tss16 or SystemType.Tss16Busy or SystemType.CallGate16 or SystemType.TaskGate => !cpu.LongMode,
                _ => false,
            };
        found = found && Reachable(s, selector, d);
        if (found)
            SetRegister(s, op, (uint)(d.Raw >> 32) & 0x00FF_FF00);
        SetZero(s, found);
        return Status.Next;
    }

    private static int LoadLimit(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (NotHere(cpu))
            return cpu.Undefined();
        if (!Source(cpu, s, op, out ushort selector) || !Find(cpu, selector, out Descriptor d, out bool found))
            return Status.Fault;
        if (found && d.IsSystem)
            found = d.Type switch
            {
                SystemType.Ldt or SystemType.Tss32 or SystemType.Tss32Busy => true,
                SystemType.Tss16 or SystemType.Tss16Busy => !cpu.LongMode,
                _ => false,
            };
        found = found && Reachable(s, selector, d);
        if (found)
            SetRegister(s, op, d.Limit);
        SetZero(s, found);
        return Status.Next;
    }

    private static bool BindAdjust(ref OpBuilder b)
    {
        Op* op = b.Op;
        op->Src = b.Offset(1);
        if (b.IsRegister(0))
            op->Dst = b.Offset(0);
        else
            b.Memory();
        op->Run = &AdjustRpl;
        return true;
    }

    private static int AdjustRpl(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (NotHere(cpu))
            return cpu.Undefined();
        uint wanted = *(ushort*)((byte*)s + op->Src) & 3u;
        ulong value = *(ushort*)((byte*)s + op->Dst);
        ulong linear = 0;
        bool memory = (op->Flags & OpFlags.Memory) != 0;
        // A plain read, then a write only if RPL rises: processors report the #PF of the first as a read's.
        if (memory && !(General.Linear(cpu, s, op, 2, write: false, out linear) && GuestAccess.Load<W16>(cpu, s, op, linear, out value)))
            return Status.Fault;
        bool raise = (value & 3) < wanted;
        if (raise)
        {
            value = (value & ~3ul) | wanted;
            if (!memory)
                *(ushort*)((byte*)s + op->Dst) = (ushort)value;
            else if (!General.Linear(cpu, s, op, 2, write: true, out linear) || !GuestAccess.Store<W16>(cpu, s, op, linear, value))
                return Status.Fault;
        }
        SetZero(s, raise);
        return Status.Next;
    }
}
