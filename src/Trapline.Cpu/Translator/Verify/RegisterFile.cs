using System.Globalization;
using System.Text;
using Trapline.X86;

namespace Trapline.Cpu.Translator.Verify;

/// <summary>What translated code can change of a <see cref="CpuState"/>. Everything else, <c>Attention</c> above all, belongs to managed code.</summary>
public unsafe struct RegisterFile
{
    private static readonly string[] Names =
        ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];

    private fixed ulong _gpr[16];
    private fixed ulong _ymm[64];
    private X87File _x87;
    private ulong _rip;
    private ulong _flagResult;
    private ulong _flagCarry;
    private ulong _flagDelta;
    private ulong _rflags;
    private uint _mxcsr;
    private ulong _gsBase;
    private ulong _gsAddressBase;
    private ulong _kernelGsBase;

    public void Save(CpuState* s)
    {
        _x87.Save(s);
        (_gsBase, _gsAddressBase, _kernelGsBase) = (s->Gs.Base, s->AddressBase[SegmentIndex.Gs], s->KernelGsBase);
        for (int i = 0; i < 16; i++)
            _gpr[i] = s->Gpr[i];
        for (int i = 0; i < 64; i++)
            _ymm[i] = s->Ymm[i];
        (_rip, _flagResult, _flagCarry, _flagDelta, _rflags, _mxcsr) = (s->Rip, s->FlagResult, s->FlagCarry, s->FlagDelta, s->RFlags, s->Mxcsr);
    }

    public readonly void Load(CpuState* s)
    {
        _x87.Load(s);
        (s->Gs.Base, s->AddressBase[SegmentIndex.Gs], s->KernelGsBase) = (_gsBase, _gsAddressBase, _kernelGsBase);
        for (int i = 0; i < 16; i++)
            s->Gpr[i] = _gpr[i];
        for (int i = 0; i < 64; i++)
            s->Ymm[i] = _ymm[i];
        (s->Rip, s->FlagResult, s->FlagCarry, s->FlagDelta, s->RFlags, s->Mxcsr) = (_rip, _flagResult, _flagCarry, _flagDelta, _rflags, _mxcsr);
    }

    /// <summary>Adds a line for each field in which the interpreter's state differs. True if there was none.</summary>
    /// <param name="arithmetic">The translation's arithmetic flags.</param>
    /// <param name="flags">Arithmetic flags that count.</param>
    /// <param name="x87Status">Bits of the x87 status word that count.</param>
    public readonly bool Matches(CpuState* interpreter, ulong arithmetic, ulong flags, uint x87Status, StringBuilder? text)
    {
        bool same = _x87.Matches(interpreter, x87Status, text);
        for (int i = 0; i < 16; i++)
            same &= Same(Names[i], _gpr[i], interpreter->Gpr[i], text);
        same &= Same("rip", _rip, interpreter->Rip, text);
        same &= Same("rflags", _rflags | arithmetic & flags, interpreter->RFlags | Flags.Arithmetic(interpreter) & flags, text);
        same &= Same("mxcsr", _mxcsr, interpreter->Mxcsr, text);
        same &= Same("gs base", _gsBase, interpreter->Gs.Base, text);
        same &= Same("gs address base", _gsAddressBase, interpreter->AddressBase[SegmentIndex.Gs], text);
        same &= Same("kernel gs base", _kernelGsBase, interpreter->KernelGsBase, text);
        for (int i = 0; i < 64; i++)
            if (_ymm[i] != interpreter->Ymm[i])
                same &= Same($"ymm{i / 4}[{i % 4}]", _ymm[i], interpreter->Ymm[i], text);
        return same;
    }

    private static bool Same(string name, ulong translated, ulong interpreted, StringBuilder? text)
    {
        if (translated == interpreted)
            return true;
        text?.Append(CultureInfo.InvariantCulture, $"  {name}: translator {translated:x} interpreter {interpreted:x}\n");
        return false;
    }
}
