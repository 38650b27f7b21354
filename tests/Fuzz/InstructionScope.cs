using Iced.Intel;

namespace Trapline.Fuzz;

/// <summary>Which instructions can be compared with the host from user mode, and which of their results are architecturally defined.</summary>
public static class InstructionScope
{
    private static readonly HashSet<CpuidFeature> Features =
    [
        CpuidFeature.INTEL8086, CpuidFeature.INTEL8086_ONLY, CpuidFeature.INTEL186, CpuidFeature.INTEL286, CpuidFeature.INTEL386, CpuidFeature.INTEL486,
        CpuidFeature.X64, CpuidFeature.CMOV, CpuidFeature.CX8, CpuidFeature.CMPXCHG16B, CpuidFeature.FPU, CpuidFeature.FPU287, CpuidFeature.FPU387,
        CpuidFeature.MMX, CpuidFeature.SSE, CpuidFeature.SSE2, CpuidFeature.SSE3, CpuidFeature.SSSE3, CpuidFeature.SSE4_1, CpuidFeature.SSE4_2,
        CpuidFeature.AES, CpuidFeature.PCLMULQDQ, CpuidFeature.SHA, CpuidFeature.AVX, CpuidFeature.AVX2, CpuidFeature.FMA, CpuidFeature.F16C,
        CpuidFeature.BMI1, CpuidFeature.BMI2, CpuidFeature.ADX, CpuidFeature.MOVBE, CpuidFeature.POPCNT, CpuidFeature.LZCNT,
        CpuidFeature.VAES, CpuidFeature.VPCLMULQDQ, CpuidFeature.CLFSH, CpuidFeature.CLFLUSHOPT, CpuidFeature.PREFETCHW, CpuidFeature.MULTIBYTENOP,
        CpuidFeature.PAUSE, CpuidFeature.SMAP, CpuidFeature.CPUID, CpuidFeature.FPU387SL_ONLY, CpuidFeature.FXSR,
    ];

    /// <summary>Left out: results that depend on the machine, the kernel or the maker rather than on the instruction.</summary>
    private static readonly HashSet<Mnemonic> Excluded =
    [
        // The kernel or the machine answers.
        Mnemonic.Cpuid, Mnemonic.Rdtsc, Mnemonic.Int, Mnemonic.Int1, Mnemonic.Int3, Mnemonic.Into, Mnemonic.Syscall, Mnemonic.Sysenter, Mnemonic.Sysret,
        Mnemonic.Sysexit, Mnemonic.Iret, Mnemonic.Iretd, Mnemonic.Iretq, Mnemonic.Loadall, Mnemonic.Sysretq, Mnemonic.Sysexitq,
        // Selectors of the host's tables.
        Mnemonic.Lar, Mnemonic.Lsl, Mnemonic.Verr, Mnemonic.Verw, Mnemonic.Lds, Mnemonic.Les, Mnemonic.Lss, Mnemonic.Lfs, Mnemonic.Lgs,
        Mnemonic.Sldt, Mnemonic.Str, Mnemonic.Sgdt, Mnemonic.Sidt, Mnemonic.Smsw, Mnemonic.Retf,
        // TF itself would be seen.
        Mnemonic.Pushf, Mnemonic.Pushfd, Mnemonic.Pushfq, Mnemonic.Popf, Mnemonic.Popfd, Mnemonic.Popfq,
        // Instruction and data pointers in the image differ between makers.
        Mnemonic.Fnsave, Mnemonic.Fnstenv, Mnemonic.Fxsave, Mnemonic.Fxsave64, Mnemonic.Fldenv, Mnemonic.Frstor, Mnemonic.Fxrstor, Mnemonic.Fxrstor64,
        // Approximations and old forms that each maker defines.
        Mnemonic.Rcpps, Mnemonic.Rcpss, Mnemonic.Rsqrtps, Mnemonic.Rsqrtss, Mnemonic.Vrcpps, Mnemonic.Vrcpss, Mnemonic.Vrsqrtps, Mnemonic.Vrsqrtss,
        Mnemonic.Fsin, Mnemonic.Fcos, Mnemonic.Fsincos, Mnemonic.Fptan, Mnemonic.Fpatan, Mnemonic.F2xm1, Mnemonic.Fyl2x, Mnemonic.Fyl2xp1,
        Mnemonic.Fstdw, Mnemonic.Fstsg, Mnemonic.Frstpm, Mnemonic.Fnsetpm, Mnemonic.Fsetpm, Mnemonic.Fndisi, Mnemonic.Fneni, Mnemonic.Fdisi, Mnemonic.Feni,
        Mnemonic.Ud0, Mnemonic.Ud1, Mnemonic.Umov, Mnemonic.Ibts, Mnemonic.Xbts, Mnemonic.Reservednop, Mnemonic.Popcnt,
    ];

    public static bool Includes(Code code, int bits)
    {
        OpCodeInfo info = code.ToOpCode();
        if (!info.IsInstruction || (bits == 64 ? !info.Mode64 : !info.Mode32) || info.Encoding is not (EncodingKind.Legacy or EncodingKind.VEX))
            return false;
        if (info.IsPrivileged || Excluded.Contains(code.Mnemonic()) && code.Mnemonic() != Mnemonic.Popcnt)
            return false;
        if (code.CpuidFeatures().Any(f => !Features.Contains(f)))
            return false;
        string name = code.ToString();
        // Segment registers and far pointers; near branches whose operand-size prefix the makers treat differently.
        return !name.Contains("Sreg") && !name.Contains("_FS") && !name.Contains("_GS") && !name.Contains("m161") && !name.Contains("m163") && !name.Contains("m166") && !name.Contains("ptr16")
            && !IsSegmentPush(code) && !(bits == 64 && code.FlowControl() != FlowControl.Next && name.Contains("16"));
    }

    /// <summary>Facts that only the decoded instruction shows.</summary>
    public static bool Includes(in Instruction instruction, int bits) =>
        instruction.SegmentPrefix is Register.None or Register.DS or Register.SS or Register.ES or Register.CS
        && !Enumerable.Range(0, instruction.OpCount).Any(Register16Segment(instruction));

    private static Func<int, bool> Register16Segment(Instruction instruction) =>
        i => instruction.GetOpKind(i) == OpKind.Register && instruction.GetOpRegister(i).IsSegmentRegister();

    private static bool IsSegmentPush(Code code) =>
        code is Code.Pushw_ES or Code.Pushd_ES or Code.Popw_ES or Code.Popd_ES or Code.Pushw_CS or Code.Pushd_CS or Code.Pushw_SS or Code.Pushd_SS
            or Code.Popw_SS or Code.Popd_SS or Code.Pushw_DS or Code.Pushd_DS or Code.Popw_DS or Code.Popd_DS;

    /// <summary>RFLAGS bits that the instruction leaves undefined.</summary>
    public static ulong UndefinedFlags(in Instruction instruction)
    {
        RflagsBits bits = instruction.RflagsUndefined;
        ulong mask = 0;
        if ((bits & RflagsBits.CF) != 0) mask |= 1;
        if ((bits & RflagsBits.PF) != 0) mask |= 4;
        if ((bits & RflagsBits.AF) != 0) mask |= 0x10;
        if ((bits & RflagsBits.ZF) != 0) mask |= 0x40;
        if ((bits & RflagsBits.SF) != 0) mask |= 0x80;
        if ((bits & RflagsBits.OF) != 0) mask |= 0x800;
        return mask;
    }
}
