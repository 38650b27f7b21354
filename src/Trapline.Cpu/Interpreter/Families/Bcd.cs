using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>Decimal adjustment: DAA, DAS, AAA, AAS, AAM, AAD (SDM Vol. 2).</summary>
public static unsafe class Bcd
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Daa, &Bind);
        r.Add(Mnemonic.Das, &Bind);
        r.Add(Mnemonic.Aaa, &Bind);
        r.Add(Mnemonic.Aas, &Bind);
        r.Add(Mnemonic.Aam, &Bind);
        r.Add(Mnemonic.Aad, &Bind);
    }

    private static bool Bind(ref OpBuilder b)
    {
        b.Op->Imm = b.Instruction.OpCount == 1 ? b.Immediate(0) & 0xFF : 0;
        b.Op->Run = b.Instruction.Mnemonic switch
        {
            Mnemonic.Daa => &Daa,
            Mnemonic.Das => &Das,
            Mnemonic.Aaa => &Aaa,
            Mnemonic.Aas => &Aas,
            Mnemonic.Aam => &Aam,
            _ => &Aad,
        };
        return true;
    }

    private static int Daa(SoftwareVcpu cpu, CpuState* s, Op* op) => AdjustPacked(s, 1);

    private static int Das(SoftwareVcpu cpu, CpuState* s, Op* op) => AdjustPacked(s, -1);

    /// <summary>OF is undefined by the manuals; AMD processors give that of the addition or subtraction made.</summary>
    private static int AdjustPacked(CpuState* s, int sign)
    {
        int al = (byte)s->Gpr[0], result = al;
        bool carry = Flags.Carry(s), adjust = (al & 0xF) > 9 || Flags.Adjust(s), high = al > 0x99 || carry;
        if (adjust)
        {
            result += 6 * sign;
            carry |= result is < 0 or > 0xFF;
        }
        if (high)
            result += 0x60 * sign;
        // DAA: CF exactly when the high digit was adjusted; DAS: also when the first subtraction borrowed.
        carry = sign > 0 ? high : high || carry;
        W8.SetRegister(&s->Gpr[0], (ulong)result);
        bool overflow = ((al ^ result) & (sign > 0 ? ~al & result : al & ~result) & 0x80) != 0;
        Flags.SetResult(s, W8.SignExtend((ulong)result), carry, overflow, adjust);
        return Status.Next;
    }

    private static int Aaa(SoftwareVcpu cpu, CpuState* s, Op* op) => AdjustUnpacked(s, 0x106);

    private static int Aas(SoftwareVcpu cpu, CpuState* s, Op* op) => AdjustUnpacked(s, -0x106);

    /// <summary>OF, SF, ZF and PF are undefined by the manuals; AMD processors give those of the 16-bit sum before AL is masked.</summary>
    private static int AdjustUnpacked(CpuState* s, int correction)
    {
        int ax = (ushort)s->Gpr[0];
        bool adjust = (ax & 0xF) > 9 || Flags.Adjust(s);
        int sum = adjust ? ax + correction : ax;
        W16.SetRegister(&s->Gpr[0], (ulong)(sum & 0xFF0F));
        bool overflow = ((correction > 0 ? ~ax & sum : ax & ~sum) & 0x8000) != 0;
        Flags.SetResult(s, W16.SignExtend((ulong)sum), adjust, overflow, adjust);
        return Status.Next;
    }

    private static int Aam(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        ulong al = (byte)s->Gpr[0];
        if (op->Imm == 0)
            return cpu.Fault(Vector.DivideError);
        W16.SetRegister(&s->Gpr[0], ((al / op->Imm) << 8) | (al % op->Imm));
        Flags.SetLogic(s, W8.SignExtend(al % op->Imm));
        return Status.Next;
    }

    private static int Aad(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        ulong al = (byte)s->Gpr[0], tens = (byte)(((s->Gpr[0] >> 8) & 0xFF) * op->Imm);
        ulong sum = (byte)(al + tens);
        W16.SetRegister(&s->Gpr[0], sum);
        Flags.SetAdd(s, al, tens, sum, W8.SignExtend(sum), 8); // CF, OF and AF are undefined: those of the addition
        return Status.Next;
    }
}
