using Iced.Intel;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Frontend;
using Trapline.Cpu.Translator.Passes;
using Trapline.Cpu.Translator.Runtime;
using Trapline.X86;

namespace Trapline.Cpu.Translator.Emit;

/// <summary>
/// Emits one block: walks its instructions, gives each to the part that knows it (memory, re-encoding, stack, branches), then lays the cold paths
/// elsewhere.
/// </summary>
/// <remarks>
/// At every instruction boundary all guest registers are in their homes and the guest's live flags in the host's, so that execution can leave
/// and resume there. Between boundaries RCX and r14 are free.
/// </remarks>
/// <param name="singly">A translation never goes on at its own beginning by itself.</param>
/// <param name="extract">PEXT is fast.</param>
public sealed unsafe partial class BlockEmitter(Addresses addresses, Stubs stubs, ExitSites sites, bool singly, bool extract)
{
    private readonly List<ColdPath> _cold = [];
    private Assembler _asm;
    private Translation _translation = null!;
    private BlockAnalysis _analysis = null!;
    private GuestBlock _block = null!;
    private byte* _code;
    private int _context;
    private bool _vectors;
    private bool _code32;

    /// <summary>The number of the instruction that is being emitted, from 1.</summary>
    private int _number;

    /// <param name="code">The block's first byte.</param>
    /// <param name="context">Soft-TLB context of the block's mode.</param>
    /// <param name="count">Count instructions.</param>
    /// <param name="into">Where to.</param>
    public void Emit(BlockAnalysis analysis, byte* code, int context, bool count, Translation translation, ExecutableCode into)
    {
        _asm = into.BeginHot();
        GuestBlock block = analysis.Block;
        _analysis = analysis;
        _block = block;
        _code = code;
        _context = context;
        _translation = translation;
        _vectors = block.UsesVectors;
        _x87 = false;
        _code32 = block.Code32;
        _cold.Clear();
        BeginRelocations();
        translation.Entry = _asm.Here;
        translation.FirstSite = sites.Count;
        _atHome = true;
        _flagSource = GuestInstruction.NoSource;
        if (block.IsLoop)
        {
            EmitLoopEntry(block, count);
        }
        else
        {
            if (count)
                EmitCount(block);
            if (_vectors)
                EmitVectorsNeeded(block.Instructions[0]);
        }
        bool open = true;
        _number = 0;
        _inScratch = HostRegister.None;
        foreach (ref GuestInstruction i in block.All)
        {
            _number++;
            if (!KeepsScratch(i))
                _inScratch = HostRegister.None;
            i.HostOffset = _asm.Length;
            _flagSource = i.Treatment == Treatment.Reencode ? i.FlagSource : GuestInstruction.NoSource;
            if (!_x87 && i.Facts.X87 && i.Treatment != Treatment.Interpret)
                EmitX87Needed(i);
            if (i.WindowBegins)
                EmitWindowCheck(i);
            open = EmitInstruction(i);
            if (i.Facts.LeavesX87Pointers && i.Treatment != Treatment.Interpret)
                EmitX87Pointers(i);
            else if (i.Iced.Mnemonic == Mnemonic.Fninit && i.Treatment != Treatment.Interpret)
                EmitX87Clear();
        }
        if (block.IsLoop)
            EmitNextIteration();
        else if (open)
            EmitFallThrough();
        _flagSource = GuestInstruction.NoSource;
        translation.HotBytes = _asm.Length;
        into.CommitHot(_asm);
        _asm = into.BeginCold();
        translation.Cold = _asm.Here;
        BeginColdRelocations();
        for (int n = 0; n < _cold.Count; n++) // paths may add paths
            EmitCold(_cold[n]);
        EmitResumptions(translation);
        translation.ColdBytes = _asm.Length;
        into.CommitCold(_asm);
        translation.EndSite = sites.Count;
        translation.Relocations = EndRelocations(into);
    }

    /// <summary>False: control does not reach the next instruction.</summary>
    private bool EmitInstruction(in GuestInstruction i)
    {
        switch (i.Treatment)
        {
            case Treatment.Interpret:
                EmitExit(new ExitSite { Kind = ExitKind.Interpret, Rip = i.Rip });
                return false;
            case Treatment.Nothing:
                return true;
            case Treatment.Verbatim:
                _asm.Bytes(_code + i.Offset, i.Length);
                return true;
            case Treatment.Reencode:
            case Treatment.WithRcx:
                EmitReencoded(i);
                return true;
            case Treatment.BitTest:
                EmitBitTest(i);
                return true;
            case Treatment.LoadConstant:
                EmitLoadConstant(i);
                return true;
            case Treatment.StepRegister:
                EmitStepRegister(i);
                return true;
            case Treatment.InRcx:
                _asm.Move(HostRegister.Rcx, HostRegister.GuestRcx);
                _asm.Bytes(_code + i.Offset, i.Length);
                _asm.Move(HostRegister.GuestRcx, HostRegister.Rcx);
                return true;
            case Treatment.StringRun:
                EmitStringRun(i);
                return true;
            case Treatment.ReadTime:
                EmitReadTime(i);
                return true;
            case Treatment.Pause:
                EmitPause(i);
                return true;
            case Treatment.ReadSelector:
                EmitReadSelector(i);
                return true;
            case Treatment.ReadControl:
                EmitReadControl(i);
                return true;
            case Treatment.ReadKeys:
                EmitReadKeys(i);
                return true;
            case Treatment.ClearDirection:
                EmitClearFlag(i, Rflags.Df);
                return true;
            case Treatment.StringStep:
                EmitStringStep(i);
                return true;
            case Treatment.AbsoluteMove:
                EmitAbsoluteMove(i);
                return true;
            case Treatment.LoadAddress:
                EmitLoadAddress(i);
                return true;
            case Treatment.ByteSwap:
                EmitByteSwap(i);
                return true;
            case Treatment.ExchangeRax:
                EmitExchangeRax(i);
                return true;
            case Treatment.Divide:
                EmitDivide(i);
                return true;
            case Treatment.Push:
                EmitPush(i);
                return true;
            case Treatment.Pop:
                EmitPop(i);
                return true;
            case Treatment.Leave:
                EmitLeave(i);
                return true;
            case Treatment.PushFlags:
                EmitPushFlags(i);
                return true;
            case Treatment.DisableInterrupts:
                EmitClearFlag(i, Rflags.If);
                return true;
            case Treatment.EnableInterrupts:
                EmitEnableInterrupts(i);
                return true;
            case Treatment.SwapGs:
                EmitSwapGs();
                return true;
            case Treatment.CountJump:
                EmitCountJump(i);
                return true;
            case Treatment.Call:
                EmitGuestCall(i);
                return false;
            case Treatment.Return:
                EmitGuestReturn(i);
                return false;
            case Treatment.Jump:
                EmitGuestJump(i);
                return false;
            default:
                return EmitConditionalJump(i);
        }
    }

    /// <summary>Registers an exit; its number goes after the call that leaves.</summary>
    private int AddSite(in ExitSite site) => sites.Add(site with { Owner = _translation.Number, Vectors = _vectors });

    /// <summary>Leaves here.</summary>
    private void EmitExit(in ExitSite site)
    {
        int number = AddSite(site);
        Leave(number);
    }

    private void EmitFallThrough()
    {
        ulong next = _block.Instructions[_block.Count - 1].NextRip;
        EmitJumpTo(next, backward: false);
    }

    private void EmitCount(GuestBlock block)
    {
        int count = block.Count;
        if (block.Instructions[count - 1].Treatment == Treatment.Interpret)
            count--; // the interpreter counts it
        if (block.Instructions[0].FlagsDeadBefore)
        {
            _asm.AluMemoryImmediate(Alu.Add, addresses.Instructions, count, wide: true);
            return;
        }
        _asm.Load(HostRegister.Rcx, addresses.Instructions);
        _asm.Lea(HostRegister.Rcx, HostAddress.At(HostRegister.Rcx, count));
        _asm.Store(addresses.Instructions, HostRegister.Rcx);
    }

    private void EmitVectorsNeeded(in GuestInstruction first) => EmitLoadNeeded(first, addresses.VectorsLoaded, ColdKind.LoadVectors);

    /// <summary>Registers that the host loads when they are first needed; <paramref name="loaded"/> is not zero if they are. RCX survives.</summary>
    private void EmitLoadNeeded(in GuestInstruction first, in HostAddress loaded, ColdKind load)
    {
        bool save = !first.FlagsDeadBefore;
        SaveFlags(save);
        _asm.AluMemoryImmediate(Alu.Cmp, loaded, 0, wide: false);
        nint from = _asm.Jump(Condition.Equal);
        RestoreFlags(save);
        int site = AddSite(new ExitSite { Kind = ExitKind.Interpret, Rip = first.Rip });
        AddCold(new ColdPath { Kind = load, From = from, Saved = save, Back = _asm.Here, Site = site });
    }

    /// <summary>The <see cref="GuestInstruction.FlagSource"/> of the instruction that is being emitted, if its checks may use it.</summary>
    private int _flagSource;

    private void AddCold(ColdPath path)
    {
        path.FlagSource = _flagSource;
        path.AtHome = _atHome;
        _cold.Add(path);
    }

    /// <summary>Flags into AX, guest RAX aside; nothing else is touched. If they can be made again, nothing at all.</summary>
    private void SaveFlags(bool really)
    {
        if (!really || _flagSource != GuestInstruction.NoSource)
            return;
        _asm.Store(addresses.Spill, HostRegister.Rax);
        _asm.FlagsToAx();
    }

    private void RestoreFlags(bool really)
    {
        if (!really)
            return;
        if (_flagSource != GuestInstruction.NoSource)
        {
            RepeatFlags(_flagSource);
            return;
        }
        _asm.FlagsFromAx();
        _asm.Load(HostRegister.Rax, addresses.Spill);
    }

    /// <summary>The flags that an instruction of the block gave, once more. Nothing else is touched.</summary>
    private void RepeatFlags(int source)
    {
        ref readonly GuestInstruction i = ref _block.Instructions[source];
        if (FlagSources.IsLogical(i))
        {
            int home = HostRegister.Of(i.Iced.Op0Register.GetFullRegister().GetNumber());
            _asm.OpRegister(i.Iced.Op0Register.GetSize() == 8, 0x85, home, home); // TEST
        }
        else
        {
            EmitInstruction(i);
        }
    }
}
