using System.Globalization;
using System.Text;
using Iced.Intel;

namespace Trapline.Fuzz;

/// <summary>Compares what the host did with what the engine did, leaving out what the architecture leaves undefined.</summary>
public static unsafe class Comparison
{
    private static readonly string[] Names =
        ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];

    /// <summary>First address that no user page of Linux has.</summary>
    private const ulong TaskSizeMax = (1ul << 47) - 4096;

    /// <summary>MXCSR.MM of AMD processors: a host may accept it, our models do not have it (AMD64 APM Vol. 1, 4.2.2).</summary>
    private const uint MisalignedMask = 1 << 17;

    /// <summary>Null if they agree, else what differs, one item a line.</summary>
    public static string? Difference(in Instruction instruction, NativeTest* test, NativeState* engine, uint vector, uint errorCode, ulong address)
    {
        NativeState* host = &test->Out;
        if (UndefinedResult(instruction, test) || (*(uint*)(host->Xsave + 24) & MisalignedMask) != 0)
            return null;
        StringBuilder text = new();
        void Differ(string what, ulong h, ulong e) =>
            text.Append(CultureInfo.InvariantCulture, $"  {what}: host {h:x} engine {e:x}\n");

        if (test->Vector != vector)
            Differ("vector", test->Vector, vector);
        else if (vector != 1)
        {
            uint codes = 0xFFFF;
            // Linux reports every page above the user's as present, lest its layout be probed; the last page of the lower half is above, too.
            if (test->Vector == 14 && test->Address >= TaskSizeMax)
                codes &= ~1u;
            // CMPS reads two places; which of two faults comes first is not architectural.
            bool either = instruction.Mnemonic is Mnemonic.Cmpsb or Mnemonic.Cmpsw or Mnemonic.Cmpsd or Mnemonic.Cmpsq;
            if (test->Vector == 14 && test->Address != address && !either)
                Differ("cr2", test->Address, address);
            if (test->Vector is 8 or (>= 10 and <= 14) or 17 && (test->ErrorCode & codes) != (errorCode & codes))
                Differ("error code", test->ErrorCode, errorCode);
        }
        for (int i = 0; i < (test->Bits == 64 ? 16 : 8); i++)
        {
            ulong h = host->Gpr[i], e = engine->Gpr[i];
            if (test->Bits == 32)
                (h, e) = ((uint)h, (uint)e);
            if (h != e)
                Differ(Names[i], h, e);
        }
        if (host->Rip != engine->Rip)
            Differ("rip", host->Rip, engine->Rip);
        // After a fault every flag is as before; TF is the oracle's own and RF is pushed by faults.
        ulong undefined = vector == 1 ? InstructionScope.UndefinedFlags(instruction) : 0;
        // A fault in the middle of repeated CMPS or SCAS restores the flags (SDM Vol. 2, REP); the oracle's single steps do not.
        if (vector != 1 && test->Repeats != 0)
            undefined = 0xCD5;
        ulong flags = 0xCD5 & ~undefined;
        if ((host->Rflags & flags) != (engine->Rflags & flags))
            Differ("rflags", host->Rflags & flags, engine->Rflags & flags);
        byte* a = host->Xsave, b = engine->Xsave;
        if (*(ushort*)a != *(ushort*)b)
            Differ("fcw", *(ushort*)a, *(ushort*)b);
        ushort statusMask = UndefinedConditionCodes(instruction, vector);
        if ((*(ushort*)(a + 2) & statusMask) != (*(ushort*)(b + 2) & statusMask))
            Differ("fsw", (ulong)(*(ushort*)(a + 2) & statusMask), (ulong)(*(ushort*)(b + 2) & statusMask));
        if (a[4] != b[4])
            Differ("ftw", a[4], b[4]);
        if (*(uint*)(a + 24) != *(uint*)(b + 24))
            Differ("mxcsr", *(uint*)(a + 24), *(uint*)(b + 24));
        for (int i = 0; i < 8; i++)
            if (*(ulong*)(a + 32 + i * 16) != *(ulong*)(b + 32 + i * 16) || *(ushort*)(a + 40 + i * 16) != *(ushort*)(b + 40 + i * 16))
            {
                Differ($"st{i} exponent", *(ushort*)(a + 40 + i * 16), *(ushort*)(b + 40 + i * 16));
                Differ($"st{i} significand", *(ulong*)(a + 32 + i * 16), *(ulong*)(b + 32 + i * 16));
            }
        for (int i = 0; i < (test->Bits == 64 ? 16 : 8); i++)
            for (int part = 0; part < 4; part++)
            {
                int at = part < 2 ? 160 + i * 16 + part * 8 : 576 + i * 16 + (part - 2) * 8;
                if (*(ulong*)(a + at) != *(ulong*)(b + at))
                    Differ($"ymm{i}[{part}]", *(ulong*)(a + at), *(ulong*)(b + at));
            }
        ReadOnlySpan<byte> hostData = new(host->Data, NativeState.DataSize), engineData = new(engine->Data, NativeState.DataSize);
        int same = hostData.CommonPrefixLength(engineData);
        if (same < NativeState.DataSize)
            Differ($"memory at {NativeOracle.DataBase + (ulong)same:x}", hostData[same], engineData[same]);
        return text.Length == 0 ? null : text.ToString();
    }

    /// <summary>SHLD and SHRD of 16 bits by more than 16 (SDM Vol. 2, SHLD); PAUSE with REX.B, which some makers decode as XCHG R8;
    /// a fault of the 16-bit MOVSXD, which reads four bytes on some processors (SDM Vol. 2, MOVSXD, says two).</summary>
    private static bool UndefinedResult(in Instruction instruction, NativeTest* test) => instruction.Code switch
    {
        Code.Shld_rm16_r16_imm8 or Code.Shrd_rm16_r16_imm8 => (instruction.Immediate8 & 31) > 16,
        Code.Shld_rm16_r16_CL or Code.Shrd_rm16_r16_CL => (test->In.Gpr[1] & 31) > 16,
        Code.Pause => instruction.Length > 2,
        Code.Movsxd_r16_rm16 => test->Vector == 14,
        _ => false,
    };

    /// <summary>C0, C2 and C3 are undefined after most x87 arithmetic, C1 after some (SDM Vol. 2, per instruction).</summary>
    private static ushort UndefinedConditionCodes(in Instruction instruction, uint vector)
    {
        const ushort All = 0xFFFF;
        if (vector != 1 || !instruction.Mnemonic.ToString().StartsWith('F'))
            return All;
        return instruction.Mnemonic switch
        {
            Mnemonic.Fcom or Mnemonic.Fcomp or Mnemonic.Fcompp or Mnemonic.Fucom or Mnemonic.Fucomp or Mnemonic.Fucompp or Mnemonic.Ftst
                or Mnemonic.Fxam or Mnemonic.Ficom or Mnemonic.Ficomp or Mnemonic.Fprem or Mnemonic.Fprem1
                or Mnemonic.Fninit or Mnemonic.Finit => All,
            _ => All & ~0x4500,
        };
    }

    /// <summary>The input of a case, enough to write it down and replay it.</summary>
    public static string Describe(in Instruction instruction, NativeTest* test)
    {
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"{test->Bits}-bit {instruction} [{Convert.ToHexString(new ReadOnlySpan<byte>(test->Code, (int)test->Length))}] {instruction.Code} at {test->In.Rip:x}\n");
        for (int i = 0; i < 16; i++)
            text.Append(CultureInfo.InvariantCulture, $"{(i % 4 == 0 ? "  " : " ")}{Names[i]}={test->In.Gpr[i]:x}{(i % 4 == 3 ? "\n" : "")}");
        text.Append(CultureInfo.InvariantCulture, $"  rflags={test->In.Rflags:x} mxcsr={*(uint*)(test->In.Xsave + 24):x} fcw={*(ushort*)test->In.Xsave:x} fsw={*(ushort*)(test->In.Xsave + 2):x} ftw={test->In.Xsave[4]:x}\n");
        for (int i = 0; i < instruction.OpCount; i++)
        {
            Register r = instruction.GetOpKind(i) == OpKind.Register ? instruction.GetOpRegister(i) : Register.None;
            if (r.IsXMM() || r.IsYMM())
            {
                int n = r.GetNumber();
                byte* x = test->In.Xsave;
                text.Append(CultureInfo.InvariantCulture, $"  {r}={*(ulong*)(x + 584 + n * 16):x16}_{*(ulong*)(x + 576 + n * 16):x16}_{*(ulong*)(x + 168 + n * 16):x16}_{*(ulong*)(x + 160 + n * 16):x16}\n");
            }
            else if (r.IsST() || r.IsMM())
            {
                byte* x = test->In.Xsave + 32 + r.GetNumber() * 16;
                text.Append(CultureInfo.InvariantCulture, $"  {r}={*(ushort*)(x + 8):x4}_{*(ulong*)x:x16}\n");
            }
        }
        return text.ToString();
    }
}
