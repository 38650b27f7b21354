using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>MOV of control and debug registers, LMSW, SMSW, CLTS, cache and TLB invalidation, XCR0, PKRU.</summary>
public static unsafe class ControlRegisters
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Lmsw, &BindLoadStatusWord);
        r.Add(Mnemonic.Smsw, &BindStoreStatusWord);
        r.Add(Mnemonic.Clts, &BindSimple);
        r.Add(Mnemonic.Invd, &BindSimple);
        r.Add(Mnemonic.Wbinvd, &BindSimple);
        r.Add(Mnemonic.Wbnoinvd, &BindSimple);
        r.Add(Mnemonic.Invlpg, &BindInvalidatePage);
        r.Add(Mnemonic.Invpcid, &BindInvalidatePcid);
        r.Add(Mnemonic.Xsetbv, &BindSimple);
        r.Add(Mnemonic.Xgetbv, &BindSimple);
        r.Add(Mnemonic.Rdpkru, &BindSimple);
        r.Add(Mnemonic.Wrpkru, &BindSimple);
    }

    /// <summary>MOV with a control or debug register on one side.</summary>
    internal static bool BindMove(ref OpBuilder b)
    {
        Op* op = b.Op;
        Register to = b.Instruction.Op0Register, from = b.Instruction.Op1Register;
        b.EndsBlock = true;
        if (to.IsCR() || from.IsCR())
        {
            bool write = to.IsCR();
            int number = (write ? to : from).GetNumber();
            if (number is not (0 or 2 or 3 or 4 or 8))
                return false;
            op->Imm = (ulong)number;
            op->OperandSize = (byte)(write ? from : to).GetSize();
            op->Src = b.Offset(write ? 1 : 0);
            op->Run = write ? &WriteControl : &ReadControl;
            return true;
        }
        if (to.IsDR() || from.IsDR())
        {
            bool write = to.IsDR();
            int number = (write ? to : from).GetNumber();
            if (number > 7)
                return false;
            op->Imm = (ulong)number;
            op->Src = b.Offset(write ? 1 : 0);
            op->OperandSize = (byte)(write ? from : to).GetSize();
            op->Run = write ? &WriteDebug : &ReadDebug;
            return true;
        }
        return false; // test registers are gone since the 486
    }

    private static bool BindSimple(ref OpBuilder b)
    {
        b.EndsBlock = true;
        CpuModel model = b.Model;
        Mnemonic mnemonic = b.Instruction.Mnemonic;
        if ((mnemonic is Mnemonic.Xsetbv or Mnemonic.Xgetbv && !model.Has(Feature.Xsave))
            || (mnemonic is Mnemonic.Rdpkru or Mnemonic.Wrpkru && !model.Has(Feature.Pku)))
            return false;
        b.Op->Run = mnemonic switch
        {
            Mnemonic.Clts => &ClearTaskSwitched,
            Mnemonic.Xsetbv => &SetExtendedControl,
            Mnemonic.Xgetbv => &GetExtendedControl,
            Mnemonic.Rdpkru => &ReadKeys,
            Mnemonic.Wrpkru => &WriteKeys,
            _ => &FlushCaches,
        };
        return true;
    }

    private static bool BindLoadStatusWord(ref OpBuilder b)
    {
        b.EndsBlock = true;
        if (b.IsRegister(0))
            b.Op->Src = b.Offset(0);
        else
            b.Memory();
        b.Op->Run = &LoadStatusWord;
        return true;
    }

    private static bool BindStoreStatusWord(ref OpBuilder b)
    {
        if (b.IsRegister(0))
        {
            b.Op->Dst = b.Offset(0);
            b.Op->OperandSize = (byte)b.RegisterSize(0);
        }
        else
        {
            b.Memory();
        }
        b.Op->Run = &StoreStatusWord;
        return true;
    }

    private static bool BindInvalidatePage(ref OpBuilder b)
    {
        b.EndsBlock = true;
        b.Memory();
        b.Op->Run = &InvalidatePage;
        return true;
    }

    private static bool BindInvalidatePcid(ref OpBuilder b)
    {
        if (!b.Model.Has(Feature.Invpcid))
            return false;
        b.EndsBlock = true;
        b.Op->Dst = b.Offset(0);
        b.Op->OperandSize = (byte)b.RegisterSize(0);
        b.Memory();
        b.Op->Run = &InvalidatePcid;
        return true;
    }

    private static ulong Register(CpuState* s, Op* op)
    {
        ulong value = *(ulong*)((byte*)s + op->Src);
        return op->OperandSize == 8 ? value : (uint)value;
    }

    private static int Done(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        s->Rip = op->NextRip;
        cpu.ModeChanged();
        return Status.BlockEnd;
    }

    private static int WriteControl(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (s->Cpl != 0)
            return cpu.GeneralProtection();
        ulong value = Register(s, op);
        bool valid = true;
        switch (op->Imm)
        {
            case 0:
                valid = cpu.WriteCr0(value);
                break;
            case 2:
                s->Cr2 = value;
                break;
            case 3:
                if (!cpu.WriteCr3(value))
                    return cpu.GeneralProtection();
                s->Rip = op->NextRip; // nothing derived from the mode changes
                return Status.BlockEnd;
            case 4:
                valid = cpu.WriteCr4(value);
                break;
            default:
                valid = value < 16;
                if (valid)
                {
                    cpu.Io.WriteCr8(cpu.Index, (byte)value);
                    cpu.InterruptsMayBeDeliverable();
                }
                break;
        }
        return valid ? Done(cpu, s, op) : cpu.GeneralProtection();
    }

    private static int ReadControl(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (s->Cpl != 0)
            return cpu.GeneralProtection();
        ulong value = op->Imm switch { 0 => s->Cr0, 2 => s->Cr2, 3 => s->Cr3, 4 => s->Cr4, _ => cpu.Io.ReadCr8(cpu.Index) };
        *(ulong*)((byte*)s + op->Src) = op->OperandSize == 8 ? value : (uint)value;
        s->Rip = op->NextRip;
        return Status.BlockEnd;
    }

    /// <summary>DR4 and DR5 are DR6 and DR7, unless CR4.DE makes them undefined. False: the status to return is in <paramref name="status"/>.</summary>
    private static bool DebugRegister(SoftwareVcpu cpu, CpuState* s, Op* op, out int number, out int status)
    {
        number = (int)op->Imm;
        status = Status.Next;
        if (number is 4 or 5)
        {
            if ((s->Cr4 & Cr4.De) != 0)
                status = cpu.Undefined();
            number += 2;
        }
        if (status == Status.Next && s->Cpl != 0)
            status = cpu.GeneralProtection();
        if (status == Status.Next && (s->Dr[7] & (1ul << 13)) != 0)
            status = cpu.DebugRegisterGuard();
        return status == Status.Next;
    }

    private static int WriteDebug(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!DebugRegister(cpu, s, op, out int number, out int status))
            return status;
        ulong value = Register(s, op);
        if (number >= 6 && value >> 32 != 0)
            return cpu.GeneralProtection();
        s->Dr[number] = number switch
        {
            6 => (value & 0xE00F) | DebugStatus.Fixed,
            7 => (value & 0xFFFF_23FF) | 0x400,
            _ => value,
        };
        return Done(cpu, s, op);
    }

    private static int ReadDebug(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!DebugRegister(cpu, s, op, out int number, out int status))
            return status;
        *(ulong*)((byte*)s + op->Src) = op->OperandSize == 8 ? s->Dr[number] : (uint)s->Dr[number];
        s->Rip = op->NextRip;
        return Status.BlockEnd;
    }

    private static int LoadStatusWord(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (s->Cpl != 0)
            return cpu.GeneralProtection();
        ulong value = *(ushort*)((byte*)s + op->Src);
        if ((op->Flags & OpFlags.Memory) != 0
            && !(General.Linear(cpu, s, op, 2, write: false, out ulong linear) && GuestAccess.Load<W16>(cpu, s, op, linear, out value)))
            return Status.Fault;
        // PE can be set but not cleared (SDM Vol. 2, LMSW).
        ulong cr0 = (s->Cr0 & ~(Cr0.Mp | Cr0.Em | Cr0.Ts)) | (value & (Cr0.Pe | Cr0.Mp | Cr0.Em | Cr0.Ts));
        return cpu.WriteCr0(cr0) ? Done(cpu, s, op) : cpu.GeneralProtection();
    }

    private static int StoreStatusWord(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (DescriptorTables.IsPrevented(s))
            return cpu.GeneralProtection();
        if ((op->Flags & OpFlags.Memory) != 0)
            return General.Linear(cpu, s, op, 2, write: true, out ulong linear)
                && GuestAccess.Store<W16>(cpu, s, op, linear, (ushort)s->Cr0) ? Status.Next : Status.Fault;
        DescriptorTables.SetRegister(s, op, s->Cr0);
        return Status.Next;
    }

    private static int ClearTaskSwitched(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (s->Cpl != 0)
            return cpu.GeneralProtection();
        s->Cr0 &= ~Cr0.Ts;
        s->Rip = op->NextRip;
        return Status.BlockEnd;
    }

    private static int FlushCaches(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (s->Cpl != 0)
            return cpu.GeneralProtection();
        s->Rip = op->NextRip;
        return Status.BlockEnd;
    }

    private static int InvalidatePage(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (s->Cpl != 0)
            return cpu.GeneralProtection();
        ulong linear = General.Offset(s, op) + s->AddressBase[op->Segment];
        cpu.Mmu.FlushPage(s->Is64 != 0 ? linear : (uint)linear);
        s->Rip = op->NextRip;
        return Status.BlockEnd;
    }

    private static int InvalidatePcid(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (s->Cpl != 0)
            return cpu.GeneralProtection();
        ulong type = *(ulong*)((byte*)s + op->Dst);
        if (op->OperandSize == 4)
            type = (uint)type;
        ulong* descriptor = stackalloc ulong[2];
        if (!General.Linear(cpu, s, op, 16, write: false, out ulong linear)
            || !cpu.TransferSlow(linear, (byte*)descriptor, 16, op->Segment, store: false))
            return Status.Fault;
        ulong pcid = descriptor[0], address = descriptor[1];
        bool pcidsOn = (s->Cr4 & Cr4.Pcide) != 0;
        if (type > 3 || pcid > 0xFFF || (type < 2 && pcid != 0 && !pcidsOn) || (type == 0 && !SoftwareVcpu.IsCanonical(address)))
            return cpu.GeneralProtection();
        switch (type)
        {
            case 0: cpu.Mmu.FlushPage(address, (uint)pcid, global: false); break;
            case 1: cpu.Mmu.FlushPcid((uint)pcid); break;
            case 2: cpu.Mmu.FlushAll(); break;
            default: cpu.Mmu.FlushNonGlobal(); break;
        }
        s->Rip = op->NextRip;
        return Status.BlockEnd;
    }

    private static int SetExtendedControl(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if ((s->Cr4 & Cr4.OsXsave) == 0)
            return cpu.Undefined();
        ulong value = (uint)s->Gpr[0] | (s->Gpr[2] << 32);
        if (s->Cpl != 0 || (uint)s->Gpr[1] != 0 || !cpu.WriteXcr0(value))
            return cpu.GeneralProtection();
        return Done(cpu, s, op);
    }

    private static int GetExtendedControl(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if ((s->Cr4 & Cr4.OsXsave) == 0)
            return cpu.Undefined();
        uint index = (uint)s->Gpr[1];
        if (index > 1 || (index == 1 && !cpu.Model.Has(Feature.Xgetbv1)))
            return cpu.GeneralProtection();
        ulong value = index == 0 ? s->Xcr0 : s->Xcr0 & InUse(s);
        s->Gpr[0] = (uint)value;
        s->Gpr[2] = value >> 32;
        s->Rip = op->NextRip;
        return Status.BlockEnd;
    }

    /// <summary>Which state components differ from their initial configuration (SDM Vol. 1, 13.6).</summary>
    private static ulong InUse(CpuState* s)
    {
        ulong low = 0, high = 0;
        for (int i = 0; i < 64; i += 4)
        {
            low |= s->Ymm[i] | s->Ymm[i + 1];
            high |= s->Ymm[i + 2] | s->Ymm[i + 3];
        }
        return 1 | (low != 0 || s->Mxcsr != 0x1F80 ? 2ul : 0) | (high != 0 ? 4ul : 0) | (s->Pkru != 0 ? 1ul << 9 : 0);
    }

    private static int ReadKeys(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if ((s->Cr4 & Cr4.Pke) == 0)
            return cpu.Undefined();
        if ((uint)s->Gpr[1] != 0)
            return cpu.GeneralProtection();
        s->Gpr[0] = s->Pkru;
        s->Gpr[2] = 0;
        s->Rip = op->NextRip;
        return Status.BlockEnd;
    }

    private static int WriteKeys(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if ((s->Cr4 & Cr4.Pke) == 0)
            return cpu.Undefined();
        if ((uint)s->Gpr[1] != 0 || (uint)s->Gpr[2] != 0)
            return cpu.GeneralProtection();
        cpu.WritePkru((uint)s->Gpr[0]);
        s->Rip = op->NextRip;
        return Status.BlockEnd;
    }
}
