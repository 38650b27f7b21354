using System.Collections.Frozen;
using System.Runtime.Intrinsics.X86;
using Iced.Intel;

namespace Trapline.Cpu.Translator.Frontend;

/// <summary>What translation needs to know of one of Iced's instruction codes, worked out once for each code that is met.</summary>
public sealed class CodeFacts
{
    /// <summary>How many instruction codes there are.</summary>
    public static readonly int Codes = Enum.GetValues<Code>().Length;
    private static readonly CodeFacts?[] Known = new CodeFacts?[Codes];
    private static readonly InstructionInfoFactory Info = new();

    public Treatment Treatment { get; private init; }
    public bool HasModRm { get; private init; }

    /// <summary>Operand in ModRM.reg, in ModRM.rm, in VEX.vvvv; -1 if none.</summary>
    public int RegOperand { get; private init; } = -1;
    public int RmOperand { get; private init; } = -1;
    public int VvvvOperand { get; private init; } = -1;
    public bool RegIsGeneral { get; private init; }
    public bool RmIsGeneral { get; private init; }
    public bool VvvvIsGeneral { get; private init; }
    public OpAccess RegAccess { get; private init; }
    public OpAccess RmAccess { get; private init; }
    public OpAccess VvvvAccess { get; private init; }

    /// <summary>Operands are in EAX and EDX, or RAX and RDX where W says so.</summary>
    public bool TakesLengths { get; private init; }

    /// <summary>Its result is in ECX.</summary>
    public bool GivesEcx { get; private init; }

    /// <summary>Encoded with VEX.</summary>
    public bool Vex { get; private init; }

    /// <summary>Uses XMM or YMM registers.</summary>
    public bool Vector { get; private init; }

    /// <summary>Uses the x87 state, as MMX does.</summary>
    public bool X87 { get; private init; }

    /// <summary>An x87 instruction that leaves pointers to itself and its memory operand: all but control instructions (SDM Vol. 1, 8.1.8).</summary>
    public bool LeavesX87Pointers { get; private init; }

    /// <summary>The memory operand must be aligned to its size, else #GP.</summary>
    public bool Aligned { get; private init; }

    public RflagsBits FlagsRead { get; private init; }

    /// <summary>Arithmetic flags that it always overwrites, or leaves undefined.</summary>
    public RflagsBits FlagsKilled { get; private init; }

    public bool WritesRm => Writes(RmAccess);

    public static bool Reads(OpAccess access) => access is OpAccess.Read or OpAccess.CondRead or OpAccess.ReadWrite or OpAccess.ReadCondWrite or OpAccess.CondWrite;
    public static bool Writes(OpAccess access) => access is OpAccess.Write or OpAccess.CondWrite or OpAccess.ReadWrite or OpAccess.ReadCondWrite;

    public const RflagsBits Arithmetic = RflagsBits.CF | RflagsBits.PF | RflagsBits.AF | RflagsBits.ZF | RflagsBits.SF | RflagsBits.OF;

    /// <summary>The facts of an instruction's code. Only the vCPU threads' translators call this; a race computes the same facts twice.</summary>
    public static CodeFacts Of(in Instruction instruction) => Known[(int)instruction.Code] ??= Work(instruction);

    private static CodeFacts Work(in Instruction instruction)
    {
        OpCodeInfo code = instruction.Code.ToOpCode();
        InstructionInfo info;
        lock (Info)
            info = Info.GetInfo(instruction);
        int reg = -1, rm = -1, vvvv = -1;
        bool vector = instruction.Mnemonic is Mnemonic.Vzeroupper or Mnemonic.Vzeroall, strange = false, byCl = false, mmx = false;
        for (int i = 0; i < code.OpCount; i++)
        {
            string kind = code.GetOpKind(i).ToString();
            vector |= kind.StartsWith("xmm", StringComparison.Ordinal) || kind.StartsWith("ymm", StringComparison.Ordinal);
            if (kind == "cl")
                byCl = true;
            if (kind.EndsWith("_or_mem", StringComparison.Ordinal) || kind.EndsWith("_rm", StringComparison.Ordinal) || kind == "mem")
                rm = i;
            else if (kind.EndsWith("_reg", StringComparison.Ordinal))
                reg = i;
            else if (kind.EndsWith("_vvvv", StringComparison.Ordinal))
                vvvv = i;
            mmx |= kind.StartsWith("mm_", StringComparison.Ordinal);
            strange |= kind.StartsWith("seg_", StringComparison.Ordinal)
                || kind.StartsWith("cr_", StringComparison.Ordinal) || kind.StartsWith("dr_", StringComparison.Ordinal)
                || kind.StartsWith("mem_", StringComparison.Ordinal) || kind.StartsWith("es_", StringComparison.Ordinal)
                || kind.StartsWith("k_", StringComparison.Ordinal) || kind.StartsWith("sti_", StringComparison.Ordinal) || kind == "st0";
        }
        Treatment treatment = IsAbsoluteMove(instruction.Code) ? Treatment.AbsoluteMove
            : IsString(instruction.Code) ? Treatment.StringStep
            : instruction.Code is Code.Mov_r32m16_Sreg or Code.Mov_r64m16_Sreg ? Treatment.ReadSelector
            : instruction.Code is Code.Mov_r32_cr or Code.Mov_r64_cr ? Treatment.ReadControl
            : strange || code.Encoding is not (EncodingKind.Legacy or EncodingKind.VEX) || !HostFeatures.Run(instruction) ? Treatment.Interpret
            : Treat(instruction, vector, byCl, rm >= 0 || reg >= 0);
        // The host runs 64-bit code: an encoding that it does not have cannot be copied (82, the short INC and DEC, …).
        if (!code.Mode64 && (treatment is Treatment.Verbatim or Treatment.Reencode or Treatment.WithRcx))
            treatment = instruction.Code is Code.Inc_r16 or Code.Inc_r32 or Code.Dec_r16 or Code.Dec_r32 ? Treatment.StepRegister : Treatment.Interpret;
        // MMX registers are x87 registers.
        bool x87 = (X87Codes.Native.Contains(instruction.Mnemonic) || (mmx && !strange)) && HostFeatures.Run(instruction);
        if (x87)
            treatment = rm >= 0 ? Treatment.Reencode : instruction.Mnemonic == Mnemonic.Wait ? Treatment.Nothing : Treatment.Verbatim;
        RflagsBits killed = instruction.RflagsModified & Arithmetic;
        bool shift = instruction.Mnemonic is Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar or Mnemonic.Rol or Mnemonic.Ror or Mnemonic.Rcl
            or Mnemonic.Rcr or Mnemonic.Shld or Mnemonic.Shrd;
        if (shift || instruction.Mnemonic is Mnemonic.Div or Mnemonic.Idiv || treatment is Treatment.StringStep or Treatment.ReadControl)
            killed = 0; // a count of zero leaves all flags, REP's too; some processors leave them at a division, and all at a read of CR0
        return new CodeFacts
        {
            Treatment = treatment,
            HasModRm = rm >= 0 || reg >= 0 || code.IsGroup,
            RegOperand = reg,
            RmOperand = rm,
            VvvvOperand = vvvv,
            RegIsGeneral = reg >= 0 && IsGeneral(code.GetOpKind(reg)),
            RmIsGeneral = rm >= 0 && IsGeneral(code.GetOpKind(rm)),
            VvvvIsGeneral = vvvv >= 0 && IsGeneral(code.GetOpKind(vvvv)),
            RegAccess = reg >= 0 ? AccessOf(instruction, info.GetOpAccess(reg), reg) : OpAccess.None,
            RmAccess = rm >= 0 ? AccessOf(instruction, info.GetOpAccess(rm), rm) : OpAccess.None,
            VvvvAccess = vvvv >= 0 ? info.GetOpAccess(vvvv) : OpAccess.None,
            TakesLengths = instruction.Mnemonic is Mnemonic.Vpcmpestri or Mnemonic.Vpcmpestri64 or Mnemonic.Vpcmpestrm or Mnemonic.Vpcmpestrm64,
            GivesEcx = instruction.Mnemonic is Mnemonic.Pcmpistri or Mnemonic.Vpcmpistri or Mnemonic.Pcmpestri or Mnemonic.Pcmpestri64 or Mnemonic.Vpcmpestri or Mnemonic.Vpcmpestri64,
            Vex = code.Encoding == EncodingKind.VEX,
            Vector = vector,
            X87 = x87,
            LeavesX87Pointers = x87 && !mmx && !X87Codes.Control.Contains(instruction.Mnemonic),
            Aligned = (vector && NeedsAlignment(instruction)) || instruction.Mnemonic == Mnemonic.Cmpxchg16b,
            // Facts hold for every instruction of the code: what Iced says of one with a count of zero must not.
            FlagsRead = instruction.Mnemonic is Mnemonic.Rcl or Mnemonic.Rcr ? RflagsBits.CF : instruction.RflagsRead & Arithmetic,
            FlagsKilled = killed,
        };
    }

    /// <summary>
    /// Iced knows that XOR of a register with itself reads nothing, nor AND with 0. Facts hold for every instruction of the code, whichever is met first.
    /// </summary>
    private static OpAccess AccessOf(in Instruction instruction, OpAccess access, int operand) => instruction.Mnemonic switch
    {
        Mnemonic.Xor or Mnemonic.Sub or Mnemonic.Sbb or Mnemonic.And or Mnemonic.Or or Mnemonic.Add or Mnemonic.Adc => operand == 0 ? OpAccess.ReadWrite : OpAccess.Read,
        Mnemonic.Cmp or Mnemonic.Test => OpAccess.Read,
        _ => access,
    };

    private static bool IsGeneral(OpCodeOperandKind kind)
    {
        string name = kind.ToString();
        return name[0] == 'r' && char.IsDigit(name[1]);
    }

    private static Treatment Treat(in Instruction instruction, bool vector, bool byCl, bool modRm)
    {
        Mnemonic mnemonic = instruction.Mnemonic;
        if (vector && mnemonic is Mnemonic.Vzeroupper or Mnemonic.Vzeroall)
            return Treatment.Verbatim;
        if (vector)
            return VectorExceptions.Contains(mnemonic) ? Treatment.Interpret : modRm ? Treatment.Reencode : Treatment.Interpret;
        if (Specials.TryGetValue(mnemonic, out Treatment special))
            return special switch
            {
                Treatment.Jump when instruction.IsJmpFar || instruction.IsJmpFarIndirect => Treatment.Interpret,
                Treatment.Call when instruction.IsCallFar || instruction.IsCallFarIndirect => Treatment.Interpret,
                Treatment.Push or Treatment.Pop => StackOperation(instruction, special),
                Treatment.Return when instruction.Code is not (Code.Retnq or Code.Retnq_imm16 or Code.Retnd or Code.Retnd_imm16) => Treatment.Interpret,
                Treatment.Leave when instruction.Code is not (Code.Leaveq or Code.Leaved) => Treatment.Interpret,
                Treatment.CountJump when instruction.Code is not (Code.Jrcxz_rel8_64 or Code.Loop_rel8_64_RCX or Code.Jecxz_rel8_32 or Code.Loop_rel8_32_ECX)
                    => Treatment.Interpret,
                _ => special,
            };
        if (instruction.IsJccShortOrNear)
            return Treatment.ConditionalJump;
        if (mnemonic == Mnemonic.Mov)
            return instruction.Code switch
            {
                Code.Mov_r32_imm32 or Code.Mov_r64_imm64 => Treatment.LoadConstant,
                Code.Mov_r8_imm8 or Code.Mov_r16_imm16 => Treatment.LoadConstant,
                _ => modRm ? Treatment.Reencode : Treatment.Interpret,
            };
        if (mnemonic == Mnemonic.Xchg && !modRm)
            return instruction.Code is Code.Xchg_r64_RAX or Code.Xchg_r32_EAX ? Treatment.ExchangeRax : Treatment.Interpret;
        if (Verbatims.Contains(mnemonic))
            return Treatment.Verbatim;
        if (!Scalars.Contains(mnemonic))
            return Treatment.Interpret;
        return byCl ? Treatment.WithRcx : modRm ? Treatment.Reencode : Treatment.Verbatim;
    }

    private static Treatment StackOperation(in Instruction instruction, Treatment treatment) => instruction.Code switch
    {
        Code.Push_r64 or Code.Pushq_imm8 or Code.Pushq_imm32 or Code.Push_rm64 => treatment,
        Code.Push_r32 or Code.Pushd_imm8 or Code.Pushd_imm32 or Code.Push_rm32 => treatment,
        Code.Pop_r64 or Code.Pop_r32 => treatment,
        _ => Treatment.Interpret,
    };

    private static bool IsAbsoluteMove(Code code) => code is Code.Mov_AL_moffs8 or Code.Mov_AX_moffs16 or Code.Mov_EAX_moffs32
        or Code.Mov_moffs8_AL or Code.Mov_moffs16_AX or Code.Mov_moffs32_EAX;

    private static bool IsString(Code code) => code is Code.Lodsb_AL_m8 or Code.Lodsw_AX_m16 or Code.Lodsd_EAX_m32 or Code.Lodsq_RAX_m64
        or Code.Stosb_m8_AL or Code.Stosw_m16_AX or Code.Stosd_m32_EAX or Code.Stosq_m64_RAX
        or Code.Movsb_m8_m8 or Code.Movsw_m16_m16 or Code.Movsd_m32_m32 or Code.Movsq_m64_m64
        or Code.Scasb_AL_m8 or Code.Scasw_AX_m16 or Code.Scasd_EAX_m32 or Code.Scasq_RAX_m64
        or Code.Cmpsb_m8_m8 or Code.Cmpsw_m16_m16 or Code.Cmpsd_m32_m32 or Code.Cmpsq_m64_m64;

    private static bool NeedsAlignment(in Instruction instruction)
    {
        Mnemonic mnemonic = instruction.Mnemonic;
        if (AlignedMoves.Contains(mnemonic))
            return true;
        if (instruction.Encoding != EncodingKind.Legacy || UnalignedMoves.Contains(mnemonic))
            return false;
        return instruction.Code.ToOpCode().MemorySize.GetSize() == 16;
    }

    private static readonly FrozenDictionary<Mnemonic, Treatment> Specials = new Dictionary<Mnemonic, Treatment>
    {
        [Mnemonic.Lea] = Treatment.LoadAddress,
        [Mnemonic.Rdtsc] = Treatment.ReadTime,
        [Mnemonic.Rdtscp] = Treatment.ReadTime,
        [Mnemonic.Bswap] = Treatment.ByteSwap,
        [Mnemonic.Div] = Treatment.Divide,
        [Mnemonic.Idiv] = Treatment.Divide,
        [Mnemonic.Push] = Treatment.Push,
        [Mnemonic.Pop] = Treatment.Pop,
        [Mnemonic.Leave] = Treatment.Leave,
        [Mnemonic.Call] = Treatment.Call,
        [Mnemonic.Ret] = Treatment.Return,
        [Mnemonic.Jmp] = Treatment.Jump,
        [Mnemonic.Cli] = Treatment.DisableInterrupts,
        [Mnemonic.Sti] = Treatment.EnableInterrupts,
        [Mnemonic.Swapgs] = Treatment.SwapGs,
        [Mnemonic.Jrcxz] = Treatment.CountJump,
        [Mnemonic.Jecxz] = Treatment.CountJump,
        [Mnemonic.Loop] = Treatment.CountJump,
        [Mnemonic.Cmpxchg16b] = Treatment.WithRcx,
        [Mnemonic.Cmpxchg8b] = Treatment.WithRcx,
        [Mnemonic.Pushfq] = Treatment.PushFlags,
        [Mnemonic.Pushfd] = Treatment.PushFlags,
        [Mnemonic.Pause] = Treatment.Pause,
        [Mnemonic.Rdpkru] = Treatment.ReadKeys,
        [Mnemonic.Cld] = Treatment.ClearDirection,
        [Mnemonic.Clac] = Treatment.ClearAccess,
        [Mnemonic.Nop] = Treatment.Nothing,
        [Mnemonic.Endbr64] = Treatment.Nothing,
        [Mnemonic.Endbr32] = Treatment.Nothing,
        [Mnemonic.Prefetchnta] = Treatment.Nothing,
        [Mnemonic.Prefetcht0] = Treatment.Nothing,
        [Mnemonic.Prefetcht1] = Treatment.Nothing,
        [Mnemonic.Prefetcht2] = Treatment.Nothing,
        [Mnemonic.Prefetchw] = Treatment.Nothing,
    }.ToFrozenDictionary();

    private static readonly FrozenSet<Mnemonic> Verbatims = new[]
    {
        Mnemonic.Cbw, Mnemonic.Cwde, Mnemonic.Cdqe, Mnemonic.Cwd, Mnemonic.Cdq, Mnemonic.Cqo, Mnemonic.Stc, Mnemonic.Clc, Mnemonic.Cmc,
        Mnemonic.Lahf, Mnemonic.Sahf, Mnemonic.Lfence, Mnemonic.Mfence, Mnemonic.Sfence,
    }.ToFrozenSet();

    private static readonly FrozenSet<Mnemonic> Scalars = new[]
    {
        Mnemonic.Add, Mnemonic.Or, Mnemonic.Adc, Mnemonic.Sbb, Mnemonic.And, Mnemonic.Sub, Mnemonic.Xor, Mnemonic.Cmp, Mnemonic.Test,
        Mnemonic.Movzx, Mnemonic.Movsx, Mnemonic.Movsxd, Mnemonic.Inc, Mnemonic.Dec, Mnemonic.Neg, Mnemonic.Not, Mnemonic.Imul, Mnemonic.Mul,
        Mnemonic.Shl, Mnemonic.Sal, Mnemonic.Shr, Mnemonic.Sar, Mnemonic.Rol, Mnemonic.Ror, Mnemonic.Rcl, Mnemonic.Rcr, Mnemonic.Shld, Mnemonic.Shrd,
        Mnemonic.Bt, Mnemonic.Bts, Mnemonic.Btr, Mnemonic.Btc, Mnemonic.Bsf, Mnemonic.Bsr, Mnemonic.Lzcnt, Mnemonic.Tzcnt, Mnemonic.Popcnt,
        Mnemonic.Xchg, Mnemonic.Cmpxchg, Mnemonic.Xadd, Mnemonic.Movbe, Mnemonic.Andn, Mnemonic.Bextr, Mnemonic.Blsi, Mnemonic.Blsr, Mnemonic.Blsmsk,
        Mnemonic.Bzhi, Mnemonic.Pdep, Mnemonic.Pext, Mnemonic.Rorx, Mnemonic.Sarx, Mnemonic.Shlx, Mnemonic.Shrx, Mnemonic.Adcx, Mnemonic.Adox,
        Mnemonic.Crc32, Mnemonic.Movnti, Mnemonic.Mulx,
        Mnemonic.Seta, Mnemonic.Setae, Mnemonic.Setb, Mnemonic.Setbe, Mnemonic.Sete, Mnemonic.Setg, Mnemonic.Setge, Mnemonic.Setl, Mnemonic.Setle,
        Mnemonic.Setne, Mnemonic.Setno, Mnemonic.Setnp, Mnemonic.Setns, Mnemonic.Seto, Mnemonic.Setp, Mnemonic.Sets,
        Mnemonic.Cmova, Mnemonic.Cmovae, Mnemonic.Cmovb, Mnemonic.Cmovbe, Mnemonic.Cmove, Mnemonic.Cmovg, Mnemonic.Cmovge, Mnemonic.Cmovl,
        Mnemonic.Cmovle, Mnemonic.Cmovne, Mnemonic.Cmovno, Mnemonic.Cmovnp, Mnemonic.Cmovns, Mnemonic.Cmovo, Mnemonic.Cmovp, Mnemonic.Cmovs,
    }.ToFrozenSet();

    /// <summary>Vector instructions that stay with the interpreter: implicit operands, gathers, and those that change MXCSR.</summary>
    private static readonly FrozenSet<Mnemonic> VectorExceptions = new[]
    {
        Mnemonic.Maskmovdqu, Mnemonic.Vmaskmovdqu, Mnemonic.Vmaskmovps, Mnemonic.Vmaskmovpd,
        Mnemonic.Vpmaskmovd, Mnemonic.Vpmaskmovq, Mnemonic.Vpgatherdd, Mnemonic.Vpgatherdq, Mnemonic.Vpgatherqd, Mnemonic.Vpgatherqq,
        Mnemonic.Vgatherdps, Mnemonic.Vgatherdpd, Mnemonic.Vgatherqps, Mnemonic.Vgatherqpd,
    }.ToFrozenSet();

    private static readonly FrozenSet<Mnemonic> AlignedMoves = new[]
    {
        Mnemonic.Movaps, Mnemonic.Movapd, Mnemonic.Movdqa, Mnemonic.Vmovaps, Mnemonic.Vmovapd, Mnemonic.Vmovdqa, Mnemonic.Movntps, Mnemonic.Movntpd,
        Mnemonic.Movntdq, Mnemonic.Movntdqa, Mnemonic.Vmovntps, Mnemonic.Vmovntpd, Mnemonic.Vmovntdq, Mnemonic.Vmovntdqa,
    }.ToFrozenSet();

    private static readonly FrozenSet<Mnemonic> UnalignedMoves = new[] { Mnemonic.Movups, Mnemonic.Movupd, Mnemonic.Movdqu, Mnemonic.Lddqu,
        Mnemonic.Pcmpistri, Mnemonic.Pcmpestri, Mnemonic.Pcmpestri64, Mnemonic.Pcmpistrm, Mnemonic.Pcmpestrm, Mnemonic.Pcmpestrm64 }.ToFrozenSet();
}
