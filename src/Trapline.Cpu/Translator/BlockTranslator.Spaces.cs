using Trapline.Cpu.Interpreter;
using Trapline.Cpu.Mmu;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Passes;
using Trapline.Cpu.Translator.Runtime;

namespace Trapline.Cpu.Translator;

/// <summary>What follows the current mode and address space: link number, return stack, stack window.</summary>
public sealed unsafe partial class BlockTranslator
{
    private readonly ulong[] _shadowRsp = new ulong[LowLayout.ShadowStacks];
    private readonly uint[] _shadowId = new uint[LowLayout.ShadowStacks];
    private int _context = -1;
    private ulong _tag = ulong.MaxValue;

    /// <summary>Linear pages that code was translated from: a flush of one makes return sites in it stale.</summary>
    private readonly HashSet<ulong> _linearPages = [];
    private bool _spaceDirty = true;
    private uint _mode;

    private void ResetShadows()
    {
        for (int context = 0; context < LowLayout.ShadowStacks; context++)
            ResetShadow(context);
    }

    private void ResetShadow(int context)
    {
        ulong top = _low.ShadowTop(context);
        *(nint*)top = _stubs.Bottom;
        _shadowRsp[context] = top;
        if (context == _context)
            _low.Frame->ShadowRsp = top;
    }

    /// <summary>Call before every entry: the frame follows the current context and address space.</summary>
    public void Prepare()
    {
        TranslationFrame* f = _low.Frame;
        if (_spaceDirty || _low.State->Mode != _mode)
        {
            _spaceDirty = false;
            if (((_low.State->Mode ^ _mode) & BlockMode.SizeMask) != 0)
                f->CloseWindow(); // 32-bit code must not reach a page beyond 4 GiB by wrapping around
            _mode = _low.State->Mode;
            int context = _mmu.Context;
            if (context != _context)
            {
                if (_context >= 0)
                    _shadowRsp[_context] = f->ShadowRsp;
                _context = context;
                f->ShadowTop = _low.ShadowTop(context);
                f->ShadowRsp = _shadowRsp[context];
            }
            uint id = _scopes.IdOf(_low.State->Mode, _mmu.Tag, _mmu.HasGlobalPages);
            SetScope(id);
            f->CodeKey = id;
            ulong tag = _mmu.Tag;
            if (tag != _tag)
            {
                // Rings 0 to 2 keep their number, but the pages of their return sites may not be global.
                _tag = tag;
                ResetShadows();
            }
            if (_shadowId[context] != id || id == LinkScopes.NoLinks)
            {
                // Return sites of another address space must not be taken for this one's.
                _shadowId[context] = id;
                ResetShadow(context);
            }
        }
        _mmu.EnterSpace();
        if (f->ShadowRsp < _low.ShadowLimit(_context))
            ResetShadow(_context);
        if (f->WindowPage == TranslationFrame.NoPage)
            OpenWindow(_low.State->Is64 != 0 ? _low.State->Gpr[4] - 8 : (uint)_low.State->Gpr[4] - 4u);
    }

    private void SetScope(uint id)
    {
        TranslationFrame* f = _low.Frame;
        _low.ScopeIsCurrent[f->LinkId] = 0;
        f->LinkId = id;
        _low.ScopeIsCurrent[id] = id == LinkScopes.NoLinks ? (byte)0 : (byte)1;
        KeepZeroFromMatching(id);
    }

    /// <summary>Sets the stack window from the soft TLB, if that knows the page as writable.</summary>
    public bool OpenWindow(ulong linear)
    {
        TranslationFrame* f = _low.Frame;
        CpuState* s = _low.State;
        ulong page = linear & ~0xFFFul, slot = page >> 12 & SoftTlb.IndexMask;
        bool narrow = s->Is64 == 0, tooNear = page < StackWindows.Margin || page >= (1ul << 32) - StackWindows.Margin;
        if (s->WriteTlb[slot] != page || (narrow && tooNear))
            return false;
        f->WindowPage = page;
        f->WindowDelta = s->WriteTlb[slot + SoftTlb.Entries];
        return true;
    }

    public void SpaceChanged() => _spaceDirty = true;

    public void PageFlushed(ulong linear, ulong tag)
    {
        _spaceDirty |= _scopes.PageFlushed(linear, tag, _mmu.HasGlobalPages);
        if (_linearPages.Contains(linear >> 12))
            ResetShadows();
    }

    public void AllFlushed()
    {
        _scopes.AllFlushed();
        ResetShadows();
        _spaceDirty = true;
    }
}
