using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Frontend;

namespace Trapline.Cpu.Translator.Emit;

/// <summary>
/// Hot loops: one translation of what an iteration executes, which jumps back to its own beginning. While it runs, some guest registers are not in their
/// homes (<see cref="Passes.RegisterRenaming"/>): they move there where it is entered, and back wherever it is left, so that nobody else knows.
/// </summary>
/// <remarks>
/// Attention is looked at where each iteration begins. Every cycle in guest code that has a part in this translation passes there, so jumps within
/// it and out of it need not look.
/// </remarks>
public sealed unsafe partial class BlockEmitter
{
    /// <summary>All guest registers are in their homes here.</summary>
    private bool _atHome;
    private nint _iteration;

    /// <summary>Where a guest register is that the host has none for; in a loop, where that one is that changed places with it.</summary>
    private HostAddress Slot(int guest)
    {
        foreach ((int memory, int instead) in _block.Renamed)
            if (memory == guest)
                return addresses.Gpr(instead);
        return addresses.Gpr(guest);
    }

    /// <summary>Everything before the first instruction.</summary>
    private void EmitLoopEntry(GuestBlock block, bool count)
    {
        ref readonly GuestInstruction first = ref block.Instructions[0];
        if (_vectors)
            EmitVectorsNeeded(first);
        ExitSite attention = new() { Kind = ExitKind.Attention, Rip = first.Rip, Before = true };
        LeaveHomes();
        if (block.WindowBeforeLoop)
            EmitWindowCheck(first);
        if (first.FlagsDeadBefore)
        {
            _iteration = _asm.Here;
            _asm.AluMemoryImmediate(Alu.Cmp, addresses.Attention, 0, wide: false);
            AddExit(Condition.NotEqual, AddSite(attention), saved: false);
        }
        else
        {
            nint over = _asm.Jump(), island = _asm.Here;
            EmitExit(attention);
            _asm.PatchHere(over);
            _iteration = _asm.Here;
            _asm.PatchShort(EmitCalmCheck(), island);
        }
        if (count)
            EmitCount(block);
    }

    private void EmitNextIteration()
    {
        // Whoever compares block by block wants to see each.
        if (singly || _block.Then != _block.Rip)
            EmitNearLink(_asm.Jump(), _block.Then);
        else
            _asm.Jump(_iteration);
    }

    /// <summary>Values of renamed registers move from memory into the registers that stand for them, whose own go to memory. Flags stay.</summary>
    private void LeaveHomes()
    {
        foreach ((int memory, int instead) in _block.Renamed)
        {
            _asm.Store(addresses.Gpr(instead), HostRegister.Of(instead));
            _asm.Load(HostRegister.Of(instead), addresses.Gpr(memory));
        }
        _atHome = _block.Renamed.Count == 0;
    }

    /// <summary>And back, if they are not there. Flags stay.</summary>
    private void GoHome()
    {
        if (_atHome)
            return;
        foreach ((int memory, int instead) in _block.Renamed)
        {
            _asm.Store(addresses.Gpr(memory), HostRegister.Of(instead));
            _asm.Load(HostRegister.Of(instead), addresses.Gpr(instead));
        }
        _atHome = true;
    }

    /// <summary>A jump back into the block, from where all registers are at home.</summary>
    private void JumpBack(nint to)
    {
        LeaveHomes();
        _asm.Jump(to);
    }

    /// <summary>Out of the block by a link that registers must go home before.</summary>
    private void EmitLoopExit(in ColdPath path) => EmitLinkFromHome(path.Site);

    /// <summary>A link before which registers go home; it leaves until it is made.</summary>
    private void EmitLinkFromHome(int site)
    {
        GoHome();
        nint link = _asm.Jump();
        _asm.PatchHere(link);
        Site(site).Patch = link;
        Site(site).Cold = _asm.Here;
        Leave(site);
    }

    /// <summary>Whoever resumes has all registers at home.</summary>
    private void EmitResumptions(Translation translation)
    {
        if (_block.Renamed.Count == 0)
            return;
        for (int number = translation.FirstSite; number < sites.Count; number++)
            if (Site(number).Resume is not 0 and var resume)
            {
                Site(number).Resume = _asm.Here;
                JumpBack(resume);
            }
    }
}
