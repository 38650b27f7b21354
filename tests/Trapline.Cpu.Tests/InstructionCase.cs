using System.Globalization;
using Trapline.X86;

namespace Trapline.Cpu.Tests;

/// <summary>One line of <c>cases/*.txt</c>: machine code, the state before it and the state expected after it.</summary>
/// <remarks>
/// <code>64 | 48 01 D8 | rax=1 rbx=2 | rax=3 flags= ; add rax,rbx</code>
/// Fields: code size (16, 32 or 64); bytes; input; output; after <c>;</c> a comment. Numbers are hexadecimal. Registers not named in the input are
/// zero (RSP is 7000); those not named in the output must not have changed. <c>flags=OSZAPC</c> names the arithmetic flags that are set (plus D in
/// the input); in the output a <c>?</c> is followed by those that may have any value: <c>flags=Z?AO</c>. Without <c>flags</c> they must not change.
/// <c>[2000]=11,22</c> is memory, which is otherwise zero below 10000. <c>fault=#DE</c>, <c>fault=#GP</c>… is the exception that must come;
/// <c>fault=#PF,6,3000</c> names error code and CR2, too. <c>absent=3000</c> runs the case in ring 3, paged, without that page. <c>xmm0=</c> and
/// <c>ymm0=</c> are whole registers (upper digits may be left out), <c>top=</c> is the x87 stack's; <c>steps=1</c> ends the run after that many
/// instructions. Flag T is TF: nothing traps here, but some instructions look at it.
/// </remarks>
public sealed unsafe record InstructionCase(string Text, CodeSize Size, byte[] Code, string[] Input, string[] Output)
{
    private static readonly string[] Registers =
        ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];

    private const string FlagLetters = "CPAZSODT";
    private static readonly ulong[] FlagBits = [Rflags.Cf, Rflags.Pf, Rflags.Af, Rflags.Zf, Rflags.Sf, Rflags.Of, Rflags.Df, Rflags.Tf];
    private static readonly string[] Faults = ["#DE", "#DB", "#NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "", "#TS", "#NP", "#SS", "#GP", "#PF"];

    public static InstructionCase? Parse(string line)
    {
        string body = line.Split(';')[0];
        if (body.TrimStart().StartsWith('#') || body.Trim().Length == 0)
            return null;
        string[] fields = body.Split('|');
        if (fields.Length != 4)
            throw new FormatException($"four fields expected: {line}");
        return new InstructionCase(line.Trim(), (CodeSize)int.Parse(fields[0], CultureInfo.InvariantCulture),
            System.Convert.FromHexString(fields[1].Replace(" ", "", StringComparison.Ordinal)), Words(fields[2]), Words(fields[3]));
    }

    private static string[] Words(string field) => field.Split(' ', StringSplitOptions.RemoveEmptyEntries);

    private static ulong Number(string text) => ulong.Parse(text, NumberStyles.HexNumber, CultureInfo.InvariantCulture);

    private static byte[] Bytes(string text) => [.. text.Split(',').Select(b => byte.Parse(b, NumberStyles.HexNumber, CultureInfo.InvariantCulture))];

    private static ulong FlagsOf(string letters) =>
        letters.Aggregate(0ul, (bits, letter) => bits | FlagBits[FlagLetters.IndexOf(letter, StringComparison.Ordinal)]);

    /// <summary>Runs the case; the message says how the outcome differs, or is null.</summary>
    public string? Run(CpuHarness cpu)
    {
        cpu.Reset();
        new Span<byte>(cpu.At(0), 0x10000).Clear();
        CpuState* s = cpu.State;
        int steps = int.MaxValue;
        foreach (string word in Input)
        {
            (string name, string value) = Split(word);
            if (name == "flags")
                Flags.Set(s, FlagsOf(value) | 2);
            else if (name == "absent")
                cpu.PageWithout(Number(value));
            else if (name == "steps")
                steps = (int)Number(value);
            else if (name == "top")
                s->FpuTop = (byte)Number(value);
            else if (VectorNumber(name) is { } vector)
                Wide(value).CopyTo(new Span<byte>(s->Ymm + vector * 4, 32));
            else if (name[0] == '[')
                cpu.Load(Number(name.Trim('[', ']')), Bytes(value));
            else
                s->Gpr[RegisterNumber(name)] = Number(value);
        }
        ulong[] expected = new ulong[16];
        for (int i = 0; i < 16; i++)
            expected[i] = s->Gpr[i];
        byte[] vectors = new ReadOnlySpan<byte>(s->Ymm, 16 * 32).ToArray();
        int top = s->FpuTop;
        ulong expectedFlags = Flags.Arithmetic(s), flagMask = Rflags.Arithmetic;
        string fault = "";
        List<string> wrong = [];
        cpu.Run(Code, steps);
        foreach (string word in Output)
        {
            (string name, string value) = Split(word);
            if (name == "fault")
                fault = value;
            else if (name == "top")
                top = (int)Number(value);
            else if (VectorNumber(name) is { } vector)
                Wide(value).CopyTo(vectors, vector * 32);
            else if (name == "flags")
            {
                string[] parts = value.Split('?');
                expectedFlags = FlagsOf(parts[0]);
                flagMask &= ~(parts.Length > 1 ? FlagsOf(parts[1]) : 0);
            }
            else if (name[0] == '[')
            {
                byte[] bytes = Bytes(value);
                var actual = new ReadOnlySpan<byte>(cpu.At(Number(name.Trim('[', ']'))), bytes.Length);
                if (!actual.SequenceEqual(bytes))
                    wrong.Add($"{name} is {System.Convert.ToHexString(actual)}");
            }
            else
                expected[RegisterNumber(name)] = Number(value);
        }
        for (int i = 0; i < 16; i++)
            if (s->Gpr[i] != expected[i])
                wrong.Add($"{Registers[i]} is {s->Gpr[i]:X}, not {expected[i]:X}");
        ulong flags = Flags.Arithmetic(s);
        if (((flags ^ expectedFlags) & flagMask) != 0)
            wrong.Add($"flags are {Letters(flags)}, not {Letters(expectedFlags)}");
        for (int i = 0; i < 16; i++)
        {
            var actual = new ReadOnlySpan<byte>(s->Ymm + i * 4, 32);
            if (!actual.SequenceEqual(vectors.AsSpan(i * 32, 32)))
                wrong.Add($"ymm{i} is {System.Convert.ToHexString([.. actual.ToArray().Reverse()])}");
        }
        if (s->FpuTop != top)
            wrong.Add($"top is {s->FpuTop}, not {top}");
        string got = cpu.Fault is { } f ? Faults[f.Vector] + (fault.Contains(',') ? $",{f.ErrorCode:x},{f.Address:x}" : "") : "";
        if (got != fault)
            wrong.Add($"fault is '{got}', not '{fault}'");
        return wrong.Count == 0 ? null : $"{Text}\n    {string.Join("; ", wrong)}";
    }

    private static (string Name, string Value) Split(string word)
    {
        string[] parts = word.Split('=', 2);
        return parts.Length == 2 ? (parts[0], parts[1]) : throw new FormatException($"name=value expected: {word}");
    }

    /// <summary>The number in xmm3 or ymm3; null for other names.</summary>
    private static int? VectorNumber(string name) =>
        name.StartsWith("xmm", StringComparison.Ordinal) || name.StartsWith("ymm", StringComparison.Ordinal)
            ? int.Parse(name.AsSpan(3), CultureInfo.InvariantCulture) : null;

    /// <summary>32 bytes, lowest first, of a number written highest digit first.</summary>
    private static byte[] Wide(string digits) => [.. System.Convert.FromHexString(digits.PadLeft(64, '0')).Reverse()];

    private static int RegisterNumber(string name)
    {
        int number = Array.IndexOf(Registers, name);
        return number >= 0 ? number : throw new FormatException($"no such register: {name}");
    }

    private static string Letters(ulong flags) => string.Concat(Enumerable.Range(0, 6).Where(i => (flags & FlagBits[i]) != 0).Select(i => FlagLetters[i]));
}
