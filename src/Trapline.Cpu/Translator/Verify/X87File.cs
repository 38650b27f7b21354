using System.Globalization;
using System.Text;

namespace Trapline.Cpu.Translator.Verify;

/// <summary>The x87 state for comparison.</summary>
public unsafe struct X87File
{
    /// <summary>C0, C2 and C3: most arithmetic leaves them undefined (SDM Vol. 2, per instruction).</summary>
    public const uint Undefined = 0x4500;

    private fixed ulong _registers[16];
    private ushort _control;
    private ushort _status;
    private byte _tags;
    private byte _top;
    private ushort _opcode;
    private ulong _instruction;
    private ulong _data;
    private ushort _codeSelector;
    private ushort _dataSelector;

    public void Save(CpuState* s)
    {
        for (int i = 0; i < 16; i++)
            _registers[i] = s->Fpr[i];
        (_control, _status, _tags, _top) = (s->Fcw, s->Fsw, s->FpuTags, s->FpuTop);
        (_opcode, _instruction, _data, _codeSelector, _dataSelector) = (s->Fop, s->Fip, s->Fdp, s->Fcs, s->Fds);
    }

    public readonly void Load(CpuState* s)
    {
        for (int i = 0; i < 16; i++)
            s->Fpr[i] = _registers[i];
        (s->Fcw, s->Fsw, s->FpuTags, s->FpuTop) = (_control, _status, _tags, _top);
        (s->Fop, s->Fip, s->Fdp, s->Fcs, s->Fds) = (_opcode, _instruction, _data, _codeSelector, _dataSelector);
    }

    /// <summary>Adds a line for each field in which the interpreter's state differs. True if there was none.</summary>
    /// <param name="status">Bits of the status word that count.</param>
    public readonly bool Matches(CpuState* interpreter, uint status, StringBuilder? text)
    {
        X87File other = default;
        other.Save(interpreter);
        bool same = Same("fcw", _control, other._control, text) & Same("fsw", _status & status, other._status & status, text)
            & Same("x87 tags", _tags, other._tags, text) & Same("x87 top", _top, other._top, text) & Same("fop", _opcode, other._opcode, text)
            & Same("fip", _instruction, other._instruction, text) & Same("fdp", _data, other._data, text)
            & Same("fcs", _codeSelector, other._codeSelector, text) & Same("fds", _dataSelector, other._dataSelector, text);
        for (int i = 0; i < 8; i++)
        {
            same &= Same("x87 significand", _registers[i * 2], other._registers[i * 2], text);
            same &= Same("x87 exponent", (ushort)_registers[i * 2 + 1], (ushort)other._registers[i * 2 + 1], text);
        }
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
