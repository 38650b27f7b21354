using Iced.Intel;
using Trapline.Cpu.Interpreter;
using Trapline.Cpu.Translator.CodeCache;

namespace Trapline.Cpu.Translator.Emit;

/// <summary>
/// Notes on what depends on where a block's code lies, and its guest's. Position-independent programs and libraries run at another address in every
/// process: their translations are copied and mended for it instead of being made anew.
/// </summary>
public sealed unsafe partial class BlockEmitter
{
    private readonly List<Relocation> _relocations = [];
    private readonly List<int> _hotBranches = [];
    private readonly List<int> _coldBranches = [];
    private bool _movable;
    private bool _inCold;

    private void BeginRelocations()
    {
        _movable = BlockMode.IsMovable(_translation.Mode, _block.Rip) && !_block.IsLoop;
        _inCold = false;
        _relocations.Clear();
        _hotBranches.Clear();
        _coldBranches.Clear();
        if (_movable)
            _asm.Branches = _hotBranches;
    }

    private void BeginColdRelocations()
    {
        _inCold = true;
        if (_movable)
            _asm.Branches = _coldBranches;
    }

    /// <summary>Jumps and calls within one part of the translation keep their displacements when it moves.</summary>
    private Relocation[]? EndRelocations(ExecutableCode code)
    {
        if (!_movable)
            return null;
        NoteBranches(code, _hotBranches, _translation.Entry, _translation.HotBytes, cold: false);
        NoteBranches(code, _coldBranches, _translation.Cold, _translation.ColdBytes, cold: true);
        return [.. _relocations];
    }

    private void NoteBranches(ExecutableCode code, List<int> places, nint part, int length, bool cold)
    {
        byte* bytes = code.Writable(part);
        foreach (int place in places)
        {
            int target = place + 4 + *(int*)(bytes + place);
            if (target < 0 || target >= length)
                _relocations.Add(new Relocation(RelocationKind.Branch, cold, (ushort)place));
        }
    }

    /// <summary>The field that was emitted last depends on an address.</summary>
    private void NoteRelocation(RelocationKind kind)
    {
        if (_movable)
            _relocations.Add(new Relocation(kind, _inCold, (ushort)(_asm.Length - (kind is RelocationKind.Address or RelocationKind.Negative ? 8 : 4))));
    }

    /// <summary>A guest address that is relative to RIP, into a register. Flags stay.</summary>
    /// <param name="negative">Minus the address.</param>
    private void CodeAddress(int register, ulong address, bool negative = false)
    {
        ulong value = negative ? 0 - address : address;
        if (!_movable)
        {
            _asm.Constant(register, value);
            return;
        }
        _asm.LongConstant(register, value);
        NoteRelocation(negative ? RelocationKind.Negative : RelocationKind.Address);
    }

    /// <summary>The address of an operand without registers, or its page's, into r14. Flags stay.</summary>
    private void ConstantAddress(in Instruction instruction, ulong mask = ulong.MaxValue)
    {
        ulong address = instruction.MemoryDisplacement64 & mask;
        if (instruction.MemoryBase == Register.RIP)
            CodeAddress(HostRegister.Scratch, address);
        else
            _asm.Constant(HostRegister.Scratch, address);
    }

    private void StoreSite(in HostAddress to, int site)
    {
        _asm.StoreImmediate(to, site, wide: false);
        NoteRelocation(RelocationKind.Site);
    }

    /// <summary>The number of an exit site, after a call.</summary>
    private void SiteNumber(int site)
    {
        _asm.Int32(site);
        NoteRelocation(RelocationKind.Site);
    }
}
