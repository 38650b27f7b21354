using System.Globalization;
using System.Text;
using Iced.Intel;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Emit;
using Trapline.Cpu.Translator.Frontend;
using Trapline.Cpu.Translator.Runtime;

namespace Trapline.Cpu.Translator.Debugging;

/// <summary>Guest instructions beside the host code they became, as emitted: before anything is linked.</summary>
internal sealed unsafe class TranslationListing
{
    private readonly Stubs _stubs;
    private readonly ExitSites _sites;
    private readonly HostSymbols _symbols;
    private readonly NasmFormatter _guest = new(Style());
    private readonly NasmFormatter _host;
    private readonly StringOutput _text = new();
    private readonly List<(string Guest, string Host)> _rows = [];
    private nint _start;
    private string _part = "";
    private int _next;

    /// <summary>The call of LoadVectors, LoadX87 or a refill is followed by a jump, and that by a site's number; a refill's by a limit, too.</summary>
    private int _dataAfterJump;

    public TranslationListing(Addresses addresses, Stubs stubs, ExitSites sites, LowLayout low)
    {
        (_stubs, _sites) = (stubs, sites);
        _symbols = new HostSymbols(addresses, stubs, low);
        _host = new NasmFormatter(Style(), _symbols);
    }

    public string Show(GuestBlock block, Translation translation)
    {
        (_start, _next, _part) = (translation.Entry, 0, "");
        _rows.Clear();
        _symbols.Within(translation.Entry, translation.HotBytes, translation.Cold, translation.ColdBytes);
        AddRows(block.Instructions[0].HostOffset, "(on entry)");
        for (int n = 0; n < block.Count; n++)
        {
            ref readonly GuestInstruction i = ref block.Instructions[n];
            string text = string.Create(CultureInfo.InvariantCulture, $"{i.Rip:x}  {Format(_guest, i.Iced)}");
            int end = n + 1 < block.Count ? block.Instructions[n + 1].HostOffset : translation.HotBytes;
            if (_next == end)
                _rows.Add((text, ""));
            AddRows(end, text);
        }
        (_start, _next, _part) = (translation.Cold, 0, "out");
        AddRows(translation.ColdBytes, "(out of line)");
        return Layout(block, translation);
    }

    private string Layout(GuestBlock block, Translation translation)
    {
        int width = _rows.Max(r => r.Guest.Length);
        StringBuilder lines = new();
        lines.Append(CultureInfo.InvariantCulture, $"0x{translation.Rip:x}, {translation.ModeName}, {translation.Flavour}: ")
            .Append(CultureInfo.InvariantCulture, $"{block.Count} instructions in {block.Bytes} bytes, {translation.CodeBytes} bytes of host code");
        foreach ((string guest, string host) in _rows)
            lines.Append('\n').Append(("  " + guest.PadRight(width) + " | " + host).TrimEnd());
        return lines.ToString();
    }

    /// <summary>Rows for host code up to an offset; the first is labelled.</summary>
    private void AddRows(int end, string label)
    {
        ReadOnlySpan<byte> code = new((byte*)_start, end);
        ByteArrayCodeReader reader = new(code.ToArray());
        Iced.Intel.Decoder decoder = Iced.Intel.Decoder.Create(64, reader);
        while (_next < end)
        {
            int room = code[_next..].IndexOfAnyExcept((byte)0xCC);
            if (room != 0)
            {
                room = room < 0 ? end - _next : room;
                Add(ref label, $"({room} bytes of room for a link)", room);
                continue;
            }
            reader.Position = _next;
            decoder.IP = (ulong)_start + (ulong)_next;
            decoder.Decode(out Instruction instruction);
            Add(ref label, Format(_host, instruction), instruction.Length);
            int data = IsCallOf(instruction, _stubs.ExitByCall) ? sizeof(int) : _dataAfterJump;
            if (data != 0)
                Add(ref label, "; " + Describe(_sites[*(int*)(_start + _next)]), data);
            _dataAfterJump = IsCallOf(instruction, _stubs.LoadVectors) || IsCallOf(instruction, _stubs.LoadX87) ? sizeof(int)
                : instruction.Mnemonic == Mnemonic.Call && _stubs.IsRefill((nint)instruction.NearBranch64) ? 2 * sizeof(int) : 0;
        }
    }

    private void Add(ref string label, string text, int bytes)
    {
        _rows.Add((label, string.Create(CultureInfo.InvariantCulture, $"{_part}+{_next:x3}  {text}")));
        label = "";
        _next += bytes;
    }

    private string Format(Formatter formatter, in Instruction instruction)
    {
        formatter.Format(instruction, _text);
        return _text.ToStringAndReset();
    }

    private static string Describe(in ExitSite site) => site.Kind switch
    {
        ExitKind.Interpret => $"the interpreter does 0x{site.Rip:x}",
        ExitKind.ReadMiss => $"a read of {site.Size} bytes missed the soft TLB",
        ExitKind.WriteMiss => $"a write of {site.Size} bytes missed the soft TLB",
        ExitKind.Window => "the stack window does not cover what follows",
        ExitKind.Straddle => $"it lies in two pages; 0x{site.Rip:x} without such checks is not linked yet",
        ExitKind.Link => $"to 0x{site.Rip:x}, not linked yet",
        ExitKind.Time => "the time is asked for",
        ExitKind.JumpMiss => "the target is not in the jump cache",
        _ => $"attention is wanted; then on at 0x{site.Rip:x}",
    };

    private static FormatterOptions Style() => new() { HexPrefix = "0x", HexSuffix = "", UppercaseHex = false, SpaceAfterOperandSeparator = true, RipRelativeAddresses = false, BranchLeadingZeros = false };

    private static bool IsCallOf(in Instruction instruction, nint target) =>
        instruction.Mnemonic == Mnemonic.Call && instruction.Op0Kind == OpKind.NearBranch64 && instruction.NearBranchTarget == (ulong)target;
}
