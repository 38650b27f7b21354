using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.RegularExpressions;
using Iced.Intel;
using Trapline.Cpu.Mmu;
using Trapline.Cpu.Translator;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Debugging;
using Trapline.Cpu.Translator.Emit;
using Trapline.Cpu.Translator.Runtime;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Cpu.Tests.Translator;

/// <summary>
/// The code that is emitted for representative blocks, as <c>trapline disasm</c> shows it, beside this file in <c>Golden/</c>. A change of the emitter
/// shows there as a difference to read; with <c>TRAPLINE_UPDATE_GOLDEN=1</c> in the environment the tests write the files anew and fail once.
/// </summary>
public sealed partial class GoldenCodeTests
{
    private const ulong At = 0x1000;

    private static readonly Dictionary<string, Action<Iced.Intel.Assembler>> Blocks = new()
    {
        ["register-loop"] = a =>
        {
            Label again = a.CreateLabel();
            a.Label(ref again);
            a.lea(rax, __[rax + rdx * 2]);
            a.xor(rcx, rax);
            a.add(r13, r12);
            a.dec(rsi);
            a.jnz(again);
        },
        ["load-flags-live"] = a =>
        {
            a.cmp(rax, rbx);
            a.mov(rdx, __qword_ptr[rdi + 8]);
            a.mov(__byte_ptr[rdi + rsi * 4], al);
            a.@int3();
        },
        ["long-addition"] = a =>
        {
            a.adc(rax, __qword_ptr[rsi]);
            a.mov(__qword_ptr[rdi + rcx * 8], rax);
            a.adc(rdx, __qword_ptr[rsi + 8]);
            a.adc(rbx, __qword_ptr[r8]);
            a.@int3();
        },
        ["registers-in-memory-in-turn"] = a =>
        {
            a.mov(r9d, eax);
            a.shr(r9w, 8);
            a.movzx(r9d, r9w);
            a.add(r9, r10);
            a.cmp(r10, rdx);
            a.mov(rbx, r9);
            a.@int3();
        },
        ["load-flags-dead"] = a =>
        {
            a.mov(rdx, __qword_ptr[rdi + rsi * 4 + 0x10]);
            a.mov(__dword_ptr[rbx], edx);
            a.test(edx, edx);
            a.@int3();
        },
        ["stack-window"] = a =>
        {
            a.push(rbp);
            a.mov(rbp, rsp);
            a.sub(rsp, 32);
            a.mov(__qword_ptr[rsp + 8], rdi);
            a.call(At + 0x40);
            a.mov(rax, __qword_ptr[rsp + 8]);
            a.add(rsp, 32);
            a.pop(rbp);
            a.ret();
        },
        ["same-base-group"] = a =>
        {
            a.mov(__qword_ptr[rdi + 0x18], rax);
            a.mov(rdx, __qword_ptr[rdi]);
            a.add(rdx, __qword_ptr[rdi + 8]);
            a.mov(__dword_ptr[rdi + 0x20], edx);
            a.xor(edx, edx);
            a.@int3();
        },
        ["indirect-jump"] = a => a.jmp(rax),
        ["indirect-jump-through-table"] = a => a.jmp(__qword_ptr[rdi + rax * 8]),
        ["indirect-call"] = a => a.call(rax),
        ["far-jump"] = a => a.jmp(At + 0x5000),
        ["far-call"] = a => a.call(At + 0x5000),
        ["far-conditional-jump"] = a =>
        {
            a.test(eax, eax);
            a.jz(At + 0x5000);
            a.@int3();
        },
        ["constant-address"] = a =>
        {
            Label here = a.CreateLabel();
            a.Label(ref here);
            a.mov(edx, __dword_ptr[here]);
            a.mov(__dword_ptr[0x12344], edx);
            a.@int3();
        },
        ["thread-local"] = a =>
        {
            a.mov(rdx, __qword_ptr.fs[0x28]);
            a.mov(rbx, __qword_ptr.gs[rdx]);
            a.@int3();
        },
        ["divide"] = a =>
        {
            a.xor(edx, edx);
            a.div(rcx);
            a.cdq();
            a.idiv(ebx);
            a.@int3();
        },
        ["vectors"] = a =>
        {
            a.movups(xmm0, __xmmword_ptr[rdi]);
            a.addps(xmm0, xmm1);
            a.movaps(__xmmword_ptr[rsi], xmm0);
            a.@int3();
        },
        ["x87"] = a =>
        {
            a.fld(__tbyte_ptr[rdi]);
            a.fld1();
            a.fadd(st0, st1);
            a.fldcw(__word_ptr[rsp + 4]);
            a.fstp(__qword_ptr[rsi + rax * 8]);
            a.xor(eax, eax);
            a.@int3();
        },
        ["registers-in-memory"] = a =>
        {
            a.add(r8, r9);
            a.mov(r10, __qword_ptr[r11 + r8]);
            a.shl(rax, cl);
            a.mov(ecx, r10d);
            a.@int3();
        },
        ["bit-tests"] = a =>
        {
            a.cmp(rsi, rdi);
            a.bt(__qword_ptr[rdi + 8], rax);
            a.@lock.bts(__qword_ptr[rdx], r9);
            a.btr(__dword_ptr[r8 + rbx * 4], ecx);
            a.@int3();
        },
        ["exception-entry"] = a =>
        {
            a.cmp(rax, rbx);
            a.clac();
            a.cld();
            a.mov(r12, cr2);
            a.mov(r8, cr3);
            a.rdpkru();
            a.jnz(At + 0x40);
            a.@int3();
        },
        ["interrupt-gate"] = a =>
        {
            a.cli();
            a.swapgs();
            a.pushfq();
            a.sti();
            a.@int3();
        },
    };

    public static TheoryData<string, bool, bool> Cases
    {
        get
        {
            TheoryData<string, bool, bool> cases = [];
            foreach (string name in Blocks.Keys)
                cases.Add(name, name is "interrupt-gate" or "exception-entry", false);
            cases.Add("stack-window", false, true);
            cases.Add("same-base-group", false, true);
            return cases;
        }
    }

    [TranslatorTheory]
    [MemberData(nameof(Cases))]
    public void Emitted_code_is_as_it_was(string block, bool supervisor, bool safe)
    {
        byte[] code = TranslatedGuest.Assemble(Blocks[block], At);
        string emitted = Stable(TranslationPreview.Show(code, At, supervisor, safe, CpuModel.Max, options: new TranslatorOptions(1 << 20) { Extract = true }));
        Compare(block + (safe ? ".safe" : ""), emitted);
    }

    /// <summary>What a link between pages becomes once it is made: the room in <c>far-jump.txt</c> and <c>far-call.txt</c>.</summary>
    [TranslatorFact]
    public unsafe void A_far_link_is_as_it_was()
    {
        using LowLayout low = new();
        Addresses addresses = new(low);
        using ExecutableCode code = new(1 << 20);
        Stubs stubs = new(code, addresses, extract: true);
        Trapline.Cpu.Translator.Emit.Assembler asm = code.BeginHot();
        nint start = asm.Here, cold = start + 0x80, target = start + 0xC0;
        BlockEmitter.WriteFarJump(ref asm, addresses, linkId: 5, cold, target);
        Assert.Equal(BlockEmitter.FarJumpSize, asm.Length);
        BlockEmitter.WriteFarCall(ref asm, addresses, linkId: 5, start + 0x60, target);
        Assert.Equal(BlockEmitter.FarJumpSize + BlockEmitter.FarCallSize, asm.Length);
        HostSymbols symbols = new(addresses, stubs, low);
        symbols.Within(start, 0x100);
        NasmFormatter formatter = new(new FormatterOptions { HexPrefix = "0x", HexSuffix = "", UppercaseHex = false, SpaceAfterOperandSeparator = true, BranchLeadingZeros = false }, symbols);
        StringOutput line = new();
        StringBuilder text = new();
        Iced.Intel.Decoder decoder = Iced.Intel.Decoder.Create(64, new ReadOnlySpan<byte>((byte*)start, asm.Length).ToArray(), (ulong)start);
        while (decoder.IP < (ulong)asm.Here)
        {
            Instruction instruction = decoder.Decode();
            formatter.Format(instruction, line);
            text.Append(CultureInfo.InvariantCulture, $"+{instruction.IP - (ulong)start:x3}  {line.ToStringAndReset()}\n");
        }
        Compare("far-links-made", Stable(text.ToString()));
    }

    /// <summary>Which of the aligned places the return stacks got decides one constant.</summary>
    private static string Stable(string listing) => DepthField().Replace(listing.ReplaceLineEndings("\n"), "$1[rcx-stack_number]");

    [GeneratedRegex(@"(movzx ecx, cl\n[^\n]*lea ecx, )\[rcx([-+](0x)?[0-9a-f]+)?\]")]
    private static partial Regex DepthField();

    private static void Compare(string name, string emitted, [CallerFilePath] string here = "")
    {
        string file = Path.Combine(Path.GetDirectoryName(here)!, "Golden", name + ".txt");
        string expected = File.Exists(file) ? File.ReadAllText(file).ReplaceLineEndings("\n") : "";
        if (expected == emitted)
            return;
        const string Switch = "TRAPLINE_UPDATE_GOLDEN";
        if (Environment.GetEnvironmentVariable(Switch) == "1")
        {
            File.WriteAllText(file, emitted);
            Assert.Fail($"{file} was written anew: look at the difference");
        }
        Assert.Fail($"emitted code differs from {file}: if that is meant, run the tests with {Switch}=1 and look at the difference\n{emitted}");
    }
}
