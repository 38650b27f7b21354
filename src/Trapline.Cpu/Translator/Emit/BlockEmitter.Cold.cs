using Trapline.Cpu.Mmu;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Frontend;
using Trapline.Cpu.Translator.Runtime;

namespace Trapline.Cpu.Translator.Emit;

/// <summary>Kinds of out-of-line code.</summary>
internal enum ColdKind : byte
{
    Exit,
    MemoryMiss,
    LoadVectors,
    LoadX87,
    WindowMiss,
    FarJump,
    FarCall,
    LoopExit,
}

/// <summary>Out-of-line code to be laid after the block.</summary>
internal struct ColdPath
{
    public ColdKind Kind;

    /// <summary>Flags are in AX, RAX aside; or what gives them again is in <see cref="FlagSource"/>.</summary>
    public bool Saved;
    public int FlagSource;

    /// <summary>They are not in AX yet, but where they belong.</summary>
    public bool FlagsInPlace;

    /// <summary>For memory: the number, from 1, of the instruction whose probe must be undone to give r12 and the address in r14 again; else 0.</summary>
    public int Undone;

    /// <summary>All guest registers are in their homes.</summary>
    public bool AtHome;

    /// <summary>The displacements that lead here.</summary>
    public nint From;
    public nint AlsoFrom;
    public nint Back;
    public int Site;

    /// <summary>For memory: the tag array whose entry must be added to r14 to give the address again; 0 if r14 is the address.</summary>
    public int Tags;
    public int Low;
    public int Span;

    /// <summary>For checks that cover several accesses: where to leave if they lie in two pages; else 0.</summary>
    public int StraddleSite;
    public ulong Target;
}

public sealed unsafe partial class BlockEmitter
{
    private void EmitCold(in ColdPath path)
    {
        _asm.PatchHere(path.From);
        _atHome = path.AtHome;
        if (path.Saved && path.FlagSource != GuestInstruction.NoSource)
        {
            RepeatFlags(path.FlagSource);
            SaveFlags(true);
        }
        if (path.Undone != 0)
            UndoProbe(_block.Instructions[path.Undone - 1]);
        if (path.FlagsInPlace)
            SaveFlags(true);
        switch (path.Kind)
        {
            case ColdKind.MemoryMiss:
                if (path.Tags != 0)
                    _asm.AluMemory(Alu.Add, HostRegister.Scratch, new HostAddress(HostRegister.None, HostRegister.Rcx, 3, path.Tags));
                nint straddles = path.StraddleSite != 0 ? EmitStraddleCheck(path.Span) : 0;
                GoHome();
                _asm.Call(stubs.Refill(_context, Site(path.Site).Kind == ExitKind.WriteMiss, path.Saved));
                nint back = _asm.Jump(path.Back);
                SiteNumber(path.Site);
                _asm.Int32(4096 - path.Span);
                if (!path.AtHome)
                {
                    _asm.PatchHere(back);
                    JumpBack(path.Back);
                }
                if (path.StraddleSite != 0)
                    EmitStraddleLink(path, straddles);
                break;
            case ColdKind.WindowMiss:
                EmitWindowMiss(path);
                break;
            case ColdKind.LoadVectors or ColdKind.LoadX87:
                RestoreFlags(path.Saved);
                _asm.Call(path.Kind == ColdKind.LoadX87 ? stubs.LoadX87 : stubs.LoadVectors);
                _asm.Jump(path.Back);
                SiteNumber(path.Site);
                break;
            case ColdKind.LoopExit:
                EmitLoopExit(path);
                break;
            case ColdKind.FarJump:
                GoHome();
                EmitFarJump(path.Target);
                break;
            case ColdKind.FarCall:
                EmitUnlinkedCall(path);
                break;
            default:
                Site(path.Site).Cold = _asm.Here;
                RestoreFlags(path.Saved);
                Leave(path.Site);
                break;
        }
    }

    /// <summary>Pushes the return site's address and leaves. The CALL pushes that of a jump there: a CALL of the exit would push the wrong one.</summary>
    private void EmitUnlinkedCall(in ColdPath path)
    {
        _asm.PatchHere(path.AlsoFrom);
        Site(path.Site).Cold = _asm.Here;
        nint push = _asm.Call();
        _asm.Jump(path.Back);
        _asm.PatchHere(push);
        Leave(path.Site);
    }

    /// <summary>The stack moved to another page: if the soft TLB knows it, move the window there; else leave.</summary>
    private void EmitWindowMiss(in ColdPath path)
    {
        int tags = addresses.TlbTags(_context, write: true);
        HostAddress tag = new(HostRegister.None, HostRegister.Rcx, 3, tags);
        _asm.Lea(HostRegister.Scratch, HostAddress.At(HostRegister.GuestRsp, path.Low));
        nint margin = _code32 ? EmitMarginCheck() : 0;
        _asm.RotateRight32(HostRegister.Rcx, HostRegister.Scratch, 12);
        _asm.AluImmediate(Alu.And, HostRegister.Rcx, (int)SoftTlb.IndexMask, wide: false);
        _asm.AluMemory(Alu.Sub, HostRegister.Scratch, tag);
        _asm.AluImmediate(Alu.Cmp, HostRegister.Scratch, 4096 - path.Span);
        nint unknown = _asm.Jump(Condition.Above);
        _asm.Load(HostRegister.Window, tag with { Disp = tags + SoftTlb.Entries * 8 });
        _asm.Store(addresses.WindowDelta, HostRegister.Window);
        _asm.Load(HostRegister.Rcx, tag);
        _asm.Store(addresses.WindowPage, HostRegister.Rcx);
        RestoreFlags(path.Saved);
        _asm.Jump(path.Back);
        _asm.PatchHere(unknown);
        _asm.Lea(HostRegister.Scratch, HostAddress.At(HostRegister.GuestRsp, path.Low));
        nint straddles = EmitStraddleCheck(path.Span);
        if (_code32)
            _asm.PatchHere(margin);
        RestoreFlags(path.Saved);
        _asm.Store(addresses.ExitAddress, HostRegister.Scratch);
        Leave(path.Site);
        EmitStraddleLink(path, straddles);
    }

    /// <summary>A jump if the bytes from r14 on lie in two pages.</summary>
    private nint EmitStraddleCheck(int span)
    {
        _asm.Move32(HostRegister.Rcx, HostRegister.Scratch);
        _asm.AluImmediate(Alu.And, HostRegister.Rcx, 0xFFF, wide: false);
        _asm.AluImmediate(Alu.Cmp, HostRegister.Rcx, 4096 - span, wide: false);
        return _asm.Jump(Condition.Above);
    }

    /// <summary>Goes on in a translation that checks each access by itself, once that is linked here; leaves until then.</summary>
    private void EmitStraddleLink(in ColdPath path, nint from)
    {
        _asm.PatchHere(from);
        RestoreFlags(path.Saved);
        _atHome = path.AtHome;
        EmitLinkFromHome(path.StraddleSite);
    }

    private void Leave(int site)
    {
        bool atHome = _atHome;
        GoHome();
        _asm.Call(stubs.ExitByCall);
        SiteNumber(site);
        _atHome = atHome;
    }
}
