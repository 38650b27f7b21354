using System.Globalization;
using System.Text;
using Iced.Intel;
using Trapline.Cpu.Interpreter;
using Trapline.Cpu.Mmu;
using Trapline.Cpu.Translator;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Frontend;
using Trapline.Cpu.Translator.Passes;
using Trapline.Cpu.Translator.Runtime;
using Trapline.Cpu.Translator.Verify;

namespace Trapline.Cpu;

/// <summary>
/// Interpreter and translator in lockstep. Each block runs by translation, alone: links are never made, and indirect jumps lead straight out. What it
/// did is kept and taken back; the interpreter does the same instructions, and the two must agree. The guest goes on from the interpreter's state.
/// Instructions that are the interpreter's anyway (I/O, privilege, faults) happen once, after the comparison.
/// </summary>
public sealed unsafe partial class SoftwareVcpu
{
    private Lockstep? _lockstep;

    /// <summary>Every block is checked from now on; slow. Call before the vCPU first runs.</summary>
    /// <returns>False: this host cannot run translated code.</returns>
    public bool EnableLockstep(TranslatorOptions options)
    {
        if (!EnableTranslator(options))
            return false;
        _lockstep = new Lockstep();
        Mmu.OpenedForWriting = _lockstep.Pages.Note;
        return true;
    }

    /// <summary>Blocks compared so far, and those left out because they read undefined flags.</summary>
    public (long Compared, long Incomparable) LockstepCounts => (_lockstep?.Compared ?? 0, _lockstep?.Incomparable ?? 0);

    /// <summary>True if the block has a translation to compare; if not, it never will.</summary>
    private bool CanCompare(Block* block)
    {
        if (block->Native != 0)
            return true;
        if (block->Heat < 0)
            return false;
        if (TryTranslate(block))
            return true;
        block->Heat = -1;
        return false;
    }

    /// <summary>Runs one block both ways. Returns the block that follows, or null if the main loop must look at events.</summary>
    /// <exception cref="EngineDivergenceException">They disagree.</exception>
    private Block* RunCompared(Block* block)
    {
        if (_translator!.NeedsFlush)
        {
            _translator.Flush();
            return block;
        }
        // Now and then without stack windows, which otherwise only frames across pages use.
        nint entry = (_lockstep!.Compared & 7) == 7 ? _translator.Find(block, Hoisting.None)?.Entry ?? 0 : block->Native;
        if (entry == 0)
            return block;
        string? difference = Compare(block->Rip, entry, out bool moved);
        if (difference != null)
            throw new EngineDivergenceException(difference);
        if (Volatile.Read(ref State->Attention) != 0)
            return null;
        return moved ? FindBlock(State->Mode) : InterpretOne();
    }

    /// <summary>For fuzzers: one block both ways, then the interpreter's instruction if one follows. A fault is not delivered.</summary>
    /// <param name="safe">Without stack windows.</param>
    /// <param name="exact">Flags that nothing reads are kept and compared.</param>
    /// <param name="moved">The translation is copied from one for code so many bytes away.</param>
    /// <param name="asLoop">So many instructions are translated as if a hot loop executed them; 0: as a block.</param>
    /// <returns>Null: they agree.</returns>
    internal string? StepCompared(bool safe, bool exact, ulong moved, int asLoop, out bool completed)
    {
        _ownerThread = Environment.CurrentManagedThreadId;
        _holdFaults = true;
        Block* block = FindBlock(State->Mode);
        _holdFaults = false;
        bool goesOn = false;
        string? difference = null;
        _lockstep!.Exact = exact;
        if (block != null && moved != 0)
            _translator!.TranslateElsewhere(block, safe ? Hoisting.None : Hoisting.All, block->Rip + moved);
        if (block != null && asLoop != 0 && (block->Mode & BlockMode.SizeMask) == BlockMode.Code64 && ModeRules.Translates(block->Mode))
        {
            _lockstep.Exact = false;
            if (_translator!.TryTranslateAsLoop(block, asLoop, out nint loop))
            {
                _translator.NoteLiveness(_lockstep.LiveInLoop);
                difference = Compare(block->Rip, loop, out goesOn);
                _lockstep.LiveInLoop.Clear();
            }
        }
        else if (block != null && _translator!.TryTranslate(block, safe ? Hoisting.None : Hoisting.All, out nint entry, exact: exact))
            difference = Compare(block->Rip, entry, out goesOn);
        completed = difference == null && (goesOn || Step(out _));
        return difference;
    }

    /// <summary>Runs a translation of one instruction or several, takes it back, interprets the same, compares. Null: they agree.</summary>
    /// <param name="moved">False: the next instruction is the interpreter's.</param>
    private string? Compare(ulong start, nint entry, out bool moved)
    {
        CpuState* s = State;
        Lockstep lockstep = _lockstep!;
        ulong bits = Mmu.Walker.BitsSet;
        Mmu.CloseWrites();
        lockstep.Pages.Begin();
        lockstep.Before.Save(s);
        moved = RunAlone(entry);
        lockstep.Translated.Save(s);
        lockstep.TranslatedFlags = Flags.Arithmetic(s);
        ulong end = s->Rip;
        lockstep.Pages.TakeBack();
        lockstep.Before.Load(s);
        // Accessed and dirty bits may have been taken back with a page: no cached translation may say that they are set.
        if (Mmu.Walker.BitsSet != bits)
            Mmu.FlushAll();
        Mmu.CloseWrites();
        string? difference = null;
        if (moved || end != start)
            difference = InterpretTo(start, end, moved);
        lockstep.Pages.End();
        return difference;
    }

    /// <summary>Runs a translation until it leaves for anything but a TLB miss. RIP is where it left. False: the instruction there is the interpreter's.</summary>
    private bool RunAlone(nint entry)
    {
        CpuState* s = State;
        BlockTranslator translator = _translator!;
        TranslationFrame* f = _low.Frame;
        bool vectors = false;
        PackFlags(f);
        for (; ; )
        {
            translator.Prepare();
            uint number = translator.Enter(entry, vectors);
            ulong window = f->WindowPage;
            ref ExitSite site = ref translator.Site(number);
            if (number == 0)
            {
                UnpackFlags(f);
                s->Rip = f->ExitAddress;
                if (Canonical(s->Rip, 1))
                    return true;
                ref ExitSite bad = ref translator.Site(f->LastReturn);
                s->Gpr[4] -= (ulong)bad.Span;
                s->Rip = bad.Rip;
                return false;
            }
            bool again = site.Kind switch
            {
                ExitKind.Window => MoveWindow(f->ExitAddress, site) && translator.OwnerOf(site) != null,
                ExitKind.ReadMiss or ExitKind.WriteMiss => Fill(f->ExitAddress, site.Size, site.Kind == ExitKind.WriteMiss) && MayResume(site, window),
                ExitKind.JumpMiss => Canonical(f->ExitAddress, 1) && translator.AddStop(f->ExitAddress),
                _ => false,
            };
            if (again)
            {
                entry = site.Resume;
                vectors = site.Vectors;
                continue;
            }
            UnpackFlags(f);
            s->Rip = site.Rip;
            return site.Kind == ExitKind.Link || (site.Kind == ExitKind.Attention && !site.Before);
        }
    }

    /// <summary>Interprets from the block's start to where the translation left, and compares there.</summary>
    private string? InterpretTo(ulong start, ulong end, bool moved)
    {
        CpuState* s = State;
        Lockstep lockstep = _lockstep!;
        UndefinedState undefined = default;
        string? outcome = null;
        for (int n = 0; n <= GuestBlock.MaxInstructions && outcome == null; n++)
        {
            if (!FetchTranslate(0, out _, out ulong offset))
            {
                outcome = "the interpreter cannot fetch";
                break;
            }
            Instruction instruction = DecodeHere(offset);
            if (n > 0 && CodeFacts.Of(instruction).Treatment == Treatment.Interpret)
                break;
            if (instruction.IsInvalid)
                undefined.AddUnknown(); // goes on in a page that is not there
            else
                undefined.Add(instruction);
            byte shadow = s->StiShadow;
            PendingFault fault;
            bool completed;
            do
                completed = Step(out fault);
            while (completed && s->Rip == instruction.IP && instruction.HasRepPrefix && instruction.IsStringInstruction); // paused for attention
            if (!completed)
            {
                outcome = $"the interpreter raised exception {fault.Vector} with code {fault.ErrorCode:x} at {s->Rip:x}";
                break;
            }
            s->Instructions++;
            if (shadow != 0)
                s->StiShadow = 0;
            bool sequential = s->Rip == instruction.NextIP || instruction.IsInvalid;
            if (s->Rip == end && Agree(end, start, undefined, null))
            {
                lockstep.Compared++;
                return null;
            }
            // A loop's end may pass its beginning first.
            if (!sequential || (s->Rip == end && !moved))
                break;
        }
        if (undefined.Tainted)
        {
            lockstep.Incomparable++;
            return null;
        }
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"translator and interpreter differ in the block at {start:x}, ring {s->Cpl}, left at {end:x} ({outcome ?? "state"})\n");
        lockstep.Pages.End();
        Disassemble(start, end, text);
        Agree(end, start, undefined, text);
        return text.ToString();
    }

    /// <summary>The instruction at RIP, whose first byte is at a backing offset; in two pages, if it is.</summary>
    private Instruction DecodeHere(ulong offset)
    {
        ulong rip = State->Rip, left = 4096 - (offset & 0xFFF);
        Instruction instruction = _translator!.Decode(offset, rip);
        return instruction.IsInvalid && left < 15 && FetchTranslate(left, out _, out ulong second) ? _translator.DecodeAcross(offset, second, rip) : instruction;
    }

    private bool Agree(ulong end, ulong start, in UndefinedState undefined, StringBuilder? text)
    {
        Lockstep lockstep = _lockstep!;
        if (!lockstep.Pages.Matches(_memory.BackingBase, text))
            return false;
        RflagsBits live = CodeFacts.Arithmetic & ~undefined.Flags;
        if (lockstep.Translated.Matches(State, lockstep.TranslatedFlags, Places(live), undefined.X87Status, null))
            return true;
        // Flags that nothing reads are not kept; other pages cannot be looked into.
        if (!lockstep.Exact && (end ^ start) >> 12 == 0 && FetchTranslate(0, out _, out ulong offset))
            live &= _translator!.LiveFrom(offset, end, State->Mode) & lockstep.LiveInLoop.GetValueOrDefault(end, CodeFacts.Arithmetic);
        return lockstep.Translated.Matches(State, lockstep.TranslatedFlags, Places(live), undefined.X87Status, text);
    }

    /// <summary>Flags in their RFLAGS places.</summary>
    private static ulong Places(RflagsBits bits) =>
        ((bits & RflagsBits.CF) != 0 ? 1ul : 0) | ((bits & RflagsBits.PF) != 0 ? 4ul : 0) | ((bits & RflagsBits.AF) != 0 ? 0x10ul : 0)
        | ((bits & RflagsBits.ZF) != 0 ? 0x40ul : 0) | ((bits & RflagsBits.SF) != 0 ? 0x80ul : 0) | ((bits & RflagsBits.OF) != 0 ? 0x800ul : 0);

    private void Disassemble(ulong start, ulong end, StringBuilder text)
    {
        CpuState* s = State;
        ulong at = s->Rip;
        s->Rip = start;
        MasmFormatter formatter = new();
        StringOutput line = new();
        for (int n = 0; n < GuestBlock.MaxInstructions && FetchTranslate(0, out _, out ulong offset); n++)
        {
            Instruction instruction = _translator!.Decode(offset, s->Rip);
            formatter.Format(instruction, line);
            text.Append(CultureInfo.InvariantCulture, $"  {s->Rip:x}  {Convert.ToHexString(new ReadOnlySpan<byte>(_memory.BackingBase + offset, instruction.Length)),-30}  {line.ToStringAndReset()}\n");
            s->Rip = instruction.NextIP;
            CodeFacts facts = CodeFacts.Of(instruction);
            if (s->Rip == end || (s->Rip ^ start) >> 12 != 0 || facts.Treatment is Treatment.Interpret or Treatment.Call or Treatment.Return or Treatment.Jump)
                break;
        }
        s->Rip = at;
    }
}
