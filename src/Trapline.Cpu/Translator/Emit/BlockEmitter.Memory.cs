using Iced.Intel;
using Trapline.Cpu.Mmu;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Frontend;
using Trapline.X86;

namespace Trapline.Cpu.Translator.Emit;

/// <summary>Guest memory operands: a soft-TLB probe inline, or the stack window.</summary>
/// <remarks>
/// The probe: effective address in r14, page number in RCX, then r14 minus the page's tag must be at most 4096 minus the access's size, which also
/// rejects page crossings (see <see cref="SoftTlb"/>). RCX becomes the addend: host address minus guest address.
/// </remarks>
public sealed unsafe partial class BlockEmitter
{
    /// <summary>Host operand for an instruction's memory operand of <paramref name="size"/> bytes. May use RCX and r14 until the instruction's end.</summary>
    private HostAddress Probe(in GuestInstruction i, int size, bool write)
    {
        ref readonly Instruction instruction = ref i.Iced;
        if (_code32 && !IsPlainSum(instruction))
            return Probe32(i, size, write);
        if (i.GroupMember)
        {
            if (i.AddendSlot != 0)
                _asm.Load(HostRegister.Rcx, addresses.Addend(i.AddendSlot));
            return new HostAddress(Home(instruction.MemoryBase), HostRegister.Rcx, 0, (int)instruction.MemoryDisplacement64);
        }
        _inScratch = HostRegister.None; // before anything that code resumes at
        nint resume = _asm.Here;
        bool live = !i.FlagsDeadBefore;
        if (i.GroupBegins)
            return ProbeGroup(i, write, resume);
        if (ModeRules.IsConstant(instruction))
            return ProbeConstant(i, size, write, resume);
        bool exact = EffectiveAddress(instruction, instruction.SegmentPrefix is Register.FS or Register.GS);
        if (i.Facts.Aligned)
            CheckAlignment(i, size, live);
        // If the address took registers that a plain operand cannot name, it must stay whole.
        if (ProbeOperand(i, size, write, resume, keep: !exact))
            return new HostAddress(HostRegister.Scratch, HostRegister.Rcx, 0, 0);
        int displacement = (int)instruction.MemoryDisplacement64;
        int baseRegister = Home(instruction.MemoryBase), index = Home(instruction.MemoryIndex), scale = Scale(instruction);
        if (index == HostRegister.None)
            return new HostAddress(baseRegister, HostRegister.Rcx, 0, displacement);
        if (baseRegister == HostRegister.None)
            return new HostAddress(HostRegister.Rcx, index, scale, displacement);
        _asm.Lea(HostRegister.Scratch, new HostAddress(baseRegister, index, scale, displacement));
        return new HostAddress(HostRegister.Scratch, HostRegister.Rcx, 0, 0);
    }

    /// <summary>One probe for all accesses of a group: RCX stays its addend until the group ends.</summary>
    private HostAddress ProbeGroup(in GuestInstruction i, bool write, nint resume)
    {
        int home = Home(i.Iced.MemoryBase);
        _asm.Lea(HostRegister.Scratch, HostAddress.At(home, i.GroupLow));
        ProbeOperand(i, i.GroupHigh - i.GroupLow, write, resume, keep: false);
        if (i.AddendSlot != 0)
            _asm.Store(addresses.Addend(i.AddendSlot), HostRegister.Rcx);
        return new HostAddress(home, HostRegister.Rcx, 0, (int)i.Iced.MemoryDisplacement64);
    }

    /// <summary><see cref="ProbeScratch"/> for the operand of an instruction, or its group.</summary>
    private bool ProbeOperand(in GuestInstruction i, int size, bool write, nint resume, bool keep) =>
        extract && !_code32 && !i.Facts.Aligned && CarryIsAwaited(i)
            ? ProbeByExtracting(i, size, write, resume, keep)
            : ProbeScratch(i.Rip, size, write, !i.FlagsDeadBefore, resume, keep, i.GroupBegins);

    /// <summary>Probes the address in r14: RCX becomes the addend, flags stay as they are if live.</summary>
    /// <param name="keep">r14 must still be the address afterwards.</param>
    /// <returns>Whether r14 is still the address; else it is the offset in the page.</returns>
    private bool ProbeScratch(ulong rip, int size, bool write, bool live, nint resume, bool keep, bool group = false)
    {
        SaveFlags(live);
        ProbeSaved(rip, size, write, live, resume, keep, group);
        RestoreFlags(live);
        return keep;
    }

    /// <summary>The probe itself, between saving and restoring flags.</summary>
    private void ProbeSaved(ulong rip, int size, bool write, bool live, nint resume, bool keep, bool group)
    {
        int tags = addresses.TlbTags(_context, write);
        HostAddress tag = new(HostRegister.None, HostRegister.Rcx, 3, tags);
        _asm.RotateRight32(HostRegister.Rcx, HostRegister.Scratch, 12);
        _asm.AluImmediate(Alu.And, HostRegister.Rcx, (int)SoftTlb.IndexMask, wide: false);
        _asm.AluMemory(Alu.Sub, HostRegister.Scratch, tag);
        _asm.AluImmediate(Alu.Cmp, HostRegister.Scratch, 4096 - size);
        AddMiss(rip, size, write, tags, live, resume, _asm.Jump(Condition.Above), group);
        if (keep)
            _asm.AluMemory(Alu.Add, HostRegister.Scratch, tag);
        LoadAddend(tags);
    }

    private void LoadAddend(int tags) =>
        _asm.Load(HostRegister.Rcx, new HostAddress(HostRegister.None, HostRegister.Rcx, 3, tags + SoftTlb.Entries * 8));

    private void AddMiss(ulong rip, int size, bool write, int tags, bool saved, nint resume, nint from, bool group = false) =>
        AddCold(Miss(rip, size, write, resume, from, group) with { Saved = saved, Tags = tags });

    private ColdPath Miss(ulong rip, int size, bool write, nint resume, nint from, bool group)
    {
        int site = AddSite(new ExitSite { Kind = write ? ExitKind.WriteMiss : ExitKind.ReadMiss, Rip = rip, Size = (byte)size, Resume = resume });
        int straddle = group ? AddStraddle(rip, group: true) : 0;
        return new ColdPath { Kind = ColdKind.MemoryMiss, From = from, Site = site, Span = size, Back = resume, StraddleSite = straddle };
    }

    private int AddStraddle(ulong rip, bool group) => AddSite(new ExitSite { Kind = ExitKind.Straddle, Form = LinkForm.Near, Rip = rip, Group = group });

    private HostAddress ProbeConstant(in GuestInstruction i, int size, bool write, nint resume)
    {
        ulong address = i.Iced.MemoryDisplacement64;
        int slot = (int)(address >> 12 & SoftTlb.IndexMask) * 8;
        int tags = addresses.TlbTags(_context, write);
        HostAddress tag = new(HostRegister.None, HostRegister.None, 0, tags + slot);
        bool live = !i.FlagsDeadBefore, moves = i.Iced.MemoryBase == Register.RIP;
        ConstantAddress(i.Iced, mask: ~0xFFFul);
        if (CarryIsAwaited(i))
        {
            CheckConstantKeepingFlags(i, size, write, resume, tag);
        }
        else
        {
            SaveFlags(live);
            _asm.AluMemory(Alu.Cmp, HostRegister.Scratch, tag);
            if (moves)
                NoteRelocation(RelocationKind.TlbEntry);
            AddMiss(i.Rip, size, write, 0, live, resume, _asm.Jump(Condition.NotEqual));
            RestoreFlags(live);
        }
        _asm.Load(HostRegister.Rcx, tag with { Disp = tag.Disp + SoftTlb.Entries * 8 });
        if (moves)
            NoteRelocation(RelocationKind.TlbEntry);
        return new HostAddress(HostRegister.Scratch, HostRegister.Rcx, 0, (int)(address & 0xFFF));
    }

    /// <summary>A misaligned operand of an instruction that demands alignment is #GP: the interpreter raises it.</summary>
    private void CheckAlignment(in GuestInstruction i, int size, bool live)
    {
        SaveFlags(live);
        _asm.OpRegister(false, 0xF7, 0, HostRegister.Scratch);
        _asm.Int32(size - 1);
        nint from = _asm.Jump(Condition.NotEqual);
        int site = AddSite(new ExitSite { Kind = ExitKind.Interpret, Rip = i.Rip });
        AddCold(new ColdPath { Kind = ColdKind.Exit, From = from, Saved = live, Site = site });
        RestoreFlags(live);
    }

    /// <summary>Effective (linear) address into r14, flags untouched. True if the operand's base and index are host registers.</summary>
    private bool EffectiveAddress(in Instruction instruction, bool segment)
    {
        int displacement = (int)instruction.MemoryDisplacement64;
        Register b = instruction.MemoryBase, x = instruction.MemoryIndex;
        if (b == Register.RIP)
        {
            // With a segment base: the address relative to RIP is a constant.
            CodeAddress(HostRegister.Scratch, instruction.MemoryDisplacement64);
            AddSegment(instruction);
            return false;
        }
        int baseHome = Home(b), indexHome = Home(x), scale = Scale(instruction);
        bool inMemory = (b != Register.None && baseHome == HostRegister.None) || (x != Register.None && indexHome == HostRegister.None);
        if (x != Register.None && indexHome == HostRegister.None)
        {
            _asm.Load(HostRegister.Scratch, Slot(x.GetNumber()));
            indexHome = HostRegister.Scratch;
        }
        if (b != Register.None && baseHome == HostRegister.None)
        {
            baseHome = indexHome == HostRegister.Scratch ? HostRegister.Rcx : HostRegister.Scratch;
            _asm.Load(baseHome, Slot(b.GetNumber()));
        }
        if (baseHome != HostRegister.None && indexHome == HostRegister.None && displacement == 0)
            _asm.Move(HostRegister.Scratch, baseHome);
        else if (baseHome == HostRegister.None && indexHome == HostRegister.None)
            _asm.Constant(HostRegister.Scratch, (ulong)(long)displacement);
        else
            _asm.Lea(HostRegister.Scratch, new HostAddress(baseHome, indexHome, scale, displacement));
        if (segment)
            AddSegment(instruction);
        return !inMemory && !segment;
    }

    private void AddSegment(in Instruction instruction)
    {
        int segment = instruction.SegmentPrefix == Register.FS ? SegmentIndex.Fs : SegmentIndex.Gs;
        _asm.Load(HostRegister.Rcx, addresses.SegmentBase(segment));
        _asm.Lea(HostRegister.Scratch, new HostAddress(HostRegister.Scratch, HostRegister.Rcx, 0, 0));
    }

    private static int Home(Register register) => register == Register.None ? HostRegister.None : HostRegister.Of(register.GetNumber());

    private static int Scale(in Instruction instruction) => instruction.MemoryIndexScale switch { 1 => 0, 2 => 1, 4 => 2, _ => 3 };

    /// <summary>The operand of an instruction inside a stack window.</summary>
    private HostAddress WindowOperand(in GuestInstruction i, int size)
    {
        int displacement = (int)i.Iced.MemoryDisplacement64;
        if (i.Facts.Aligned)
        {
            _inScratch = HostRegister.None;
            _asm.Lea(HostRegister.Scratch, HostAddress.At(HostRegister.GuestRsp, displacement));
            CheckAlignment(i, size, !i.FlagsDeadBefore);
        }
        return new HostAddress(HostRegister.GuestRsp, HostRegister.Window, 0, displacement);
    }

    private HostAddress MemoryOperand(in GuestInstruction i, bool write)
    {
        int size = i.Iced.MemorySize.GetSize();
        bool stack = i.InWindow && i.Treatment is Treatment.Reencode or Treatment.WithRcx && i.InWindow;
        return stack ? WindowOperand(i, size) : Probe(i, size, write);
    }

    private void EmitWindowCheck(in GuestInstruction i)
    {
        nint resume = _asm.Here;
        int span = i.WindowHigh - i.WindowLow;
        bool save = !i.FlagsDeadBefore;
        _asm.Lea(HostRegister.Scratch, HostAddress.At(HostRegister.GuestRsp, i.WindowLow));
        SaveFlags(save);
        _asm.AluMemory(Alu.Sub, HostRegister.Scratch, addresses.WindowPage);
        _asm.AluImmediate(Alu.Cmp, HostRegister.Scratch, 4096 - span);
        nint from = _asm.Jump(Condition.Above);
        RestoreFlags(save);
        int site = AddSite(new ExitSite
        {
            Kind = ExitKind.Window,
            Rip = i.Rip,
            Resume = resume,
            Span = span,
            Size = (byte)(i.WindowWrites ? 1 : 0),
        });
        AddCold(new ColdPath
        {
            Kind = ColdKind.WindowMiss,
            From = from,
            Saved = save,
            Site = site,
            Low = i.WindowLow,
            Span = span,
            Back = _asm.Here,
            StraddleSite = AddStraddle(i.Rip, group: false),
        });
    }
}
