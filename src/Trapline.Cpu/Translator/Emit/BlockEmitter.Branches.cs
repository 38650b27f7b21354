using Iced.Intel;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Frontend;
using Trapline.Cpu.Translator.Runtime;

namespace Trapline.Cpu.Translator.Emit;

/// <summary>
/// Jumps, calls and returns. Within a guest page a direct jump becomes a direct jump. Between pages it first compares the link identity of the current
/// address space with the one it was linked in. A guest call also calls on the host's private stack, so that the guest's return is the host's, with the
/// processor's own return prediction; the place it returns to compares the guest address that was really popped.
/// </summary>
/// <remarks>
/// Every cycle in guest code passes a backward or an indirect jump, or calls until the return stack is full: attention is looked at there, and only there.
/// Checks must not touch flags, so they use JRCXZ; and where all is well they must not be taken branches, which would crowd the guest's own out of the
/// processor's branch target buffer and cost more than all their instructions. So JRCXZ takes the bad way, to an island within its reach: some
/// bytes after the next unconditional jump.
/// An indirect jump or call first tries its inline cache, one target of its own that it was seen to go to; then the jump cache, which all share.
/// </remarks>
public sealed unsafe partial class BlockEmitter
{
    /// <summary>Bytes of <see cref="WriteFarJump"/> and <see cref="WriteFarCall"/>.</summary>
    public const int FarJumpSize = 8 + 2 + 5 + 5;
    public const int FarCallSize = 8 + 2 + 6 + 3 + 2 + 5;

    /// <summary>The most bytes of <see cref="WriteInlineJump"/>.</summary>
    public const int InlineSize = 8 + 2 + 10 + 4 + 17 + 5;

    /// <summary>The longest instruction; one that begins nearer to the page's end may reach into the next page.</summary>
    private const int LongestInstruction = 15;

    /// <summary>A jump from this block's page to the target cannot go astray while the block itself is where it is.</summary>
    private static bool SamePage(ulong from, ulong target) => (target ^ from) >> 12 == 0 && (target & 0xFFF) <= 4096 - LongestInstruction;

    private void EmitGuestJump(in GuestInstruction i)
    {
        if (i.IsDirect)
        {
            EmitJumpTo(i.Iced.NearBranchTarget, i.Iced.NearBranchTarget <= i.Rip);
            return;
        }
        nint resume = _asm.Here;
        LoadTarget(i);
        nint attention = EmitCalmCheck();
        nint inline = EmitInlineRoom();
        Rejection unknown = stubs.EmitJumpByCache(ref _asm);
        _asm.PatchShortHere(attention);
        EmitExit(new ExitSite { Kind = ExitKind.Attention, Rip = i.Rip, Before = true });
        _asm.LandHere(unknown);
        stubs.EmitUnknown(ref _asm);
        EmitUnknownTarget(new ExitSite { Form = LinkForm.InlineJump, Rip = i.Rip, Resume = resume, Patch = inline });
    }

    /// <summary>
    /// Where an indirect target is not in the jump cache; nothing has changed yet. Managed code puts it there and the instruction begins anew, or the
    /// interpreter does it.
    /// </summary>
    private void EmitUnknownTarget(in ExitSite site)
    {
        _asm.Store(addresses.ExitAddress, HostRegister.Scratch);
        EmitExit(site with { Kind = ExitKind.JumpMiss });
    }

    /// <summary>Room for an inline cache, which does nothing until it is linked.</summary>
    private nint EmitInlineRoom()
    {
        nint room = _asm.Here;
        _asm.Nops(InlineSize);
        return room;
    }

    /// <summary>Returns the short displacement to where attention is wanted. RCX goes, flags stay.</summary>
    private nint EmitCalmCheck()
    {
        _asm.Load32(HostRegister.Rcx, addresses.Calm);
        return _asm.JumpIfRcxZero();
    }

    /// <summary>The target of an indirect jump or call into r14.</summary>
    private void LoadTarget(in GuestInstruction i)
    {
        if (i.Iced.Op0Kind == OpKind.Register)
        {
            int home = HostRegister.Of(i.Iced.Op0Register.GetNumber());
            if (home == HostRegister.None)
                _asm.Load(HostRegister.Scratch, Slot(i.Iced.Op0Register.GetNumber()));
            else
                MoveWord(HostRegister.Scratch, home);
            return;
        }
        LoadWord(HostRegister.Scratch, Probe(i, Word, write: false));
    }

    private void EmitJumpTo(ulong target, bool backward)
    {
        bool near = SamePage(_block.Rip, target);
        nint attention = 0;
        ExitSite site = new() { Kind = ExitKind.Attention, Rip = target };
        if (backward && near && _analysis.LiveAt(target) == 0)
        {
            _asm.AluMemoryImmediate(Alu.Cmp, addresses.Attention, 0, wide: false);
            AddExit(Condition.NotEqual, AddSite(site), saved: false);
        }
        else if (backward)
        {
            attention = EmitCalmCheck();
        }
        if (near)
            EmitNearLink(_asm.Jump(), target);
        else
            EmitFarJump(target);
        if (attention == 0)
            return;
        _asm.PatchShortHere(attention);
        EmitExit(site);
    }

    /// <summary>A backward one ends its block: the jump to the next block follows it here.</summary>
    /// <returns>Whether control reaches what is emitted next.</returns>
    private bool EmitConditionalJump(in GuestInstruction i)
    {
        ulong target = i.Iced.NearBranchTarget;
        bool backward = target <= i.Rip;
        Condition condition = (Condition)(i.Iced.ConditionCode - ConditionCode.o); // both are in encoding order
        backward &= !_block.IsLoop; // attention is looked at elsewhere, and more follows
        nint attention = backward ? EmitCalmCheck() : 0;
        nint taken = _asm.Jump(condition);
        if (SamePage(_block.Rip, target))
            EmitNearLink(taken, target);
        else
            AddCold(new ColdPath { Kind = ColdKind.FarJump, From = taken, Target = target });
        if (!backward)
            return true;
        EmitFallThrough();
        _asm.PatchShortHere(attention);
        EmitExit(new ExitSite { Kind = ExitKind.Attention, Rip = i.Rip, Before = true });
        return false;
    }

    /// <summary>JRCXZ, JECXZ; LOOP without its effect on flags, which it has none.</summary>
    private void EmitCountJump(in GuestInstruction i)
    {
        ulong target = i.Iced.NearBranchTarget;
        bool loop = i.Iced.Mnemonic == Mnemonic.Loop;
        if (loop)
            LeaWord(HostRegister.GuestRcx, HostAddress.At(HostRegister.GuestRcx, -1));
        MoveWord(HostRegister.Rcx, HostRegister.GuestRcx);
        nint zero = _asm.JumpIfRcxZero();
        nint other = 0;
        if (!loop)
        {
            other = _asm.Jump();
            _asm.PatchShortHere(zero);
            EmitJumpTo(target, target <= i.Rip);
            _asm.PatchHere(other);
            return;
        }
        nint taken = _asm.Jump();
        _asm.PatchShortHere(zero);
        other = _asm.Jump();
        _asm.PatchHere(taken);
        EmitJumpTo(target, target <= i.Rip);
        _asm.PatchHere(other);
    }

    /// <summary>Makes the displacement at <paramref name="place"/> a link, which leads out until it is linked.</summary>
    private void EmitNearLink(nint place, ulong target)
    {
        int site = AddSite(new ExitSite { Kind = ExitKind.Link, Form = LinkForm.Near, Rip = target, Patch = place });
        AddCold(new ColdPath { Kind = _atHome ? ColdKind.Exit : ColdKind.LoopExit, From = place, Site = site });
    }

    private void EmitFarJump(ulong target)
    {
        nint region = _asm.Here;
        int site = AddSite(new ExitSite { Kind = ExitKind.Link, Form = LinkForm.FarJump, Rip = target, Patch = region });
        AddCold(new ColdPath { Kind = ColdKind.Exit, From = _asm.Jump(), Site = site });
        LeaveRoom(region + FarJumpSize);
    }

    private void LeaveRoom(nint end)
    {
        while (_asm.Here < end)
            _asm.Byte(0xCC);
    }

    private ref ExitSite Site(int number) => ref sites[number];

    private void EmitGuestCall(in GuestInstruction i)
    {
        ulong next = i.NextRip;
        if (!i.IsDirect)
        {
            EmitIndirectCall(i, next);
            return;
        }
        ulong target = i.Iced.NearBranchTarget;
        StoreReturnAddress(i, next);
        if (SamePage(_block.Rip, target))
            EmitNearCall(target, next, i.LiveAfter != 0);
        else
            EmitFarCall(target, next);
    }

    /// <summary>Where the return stack is full nothing is left to do but the jump: managed code starts the stack anew.</summary>
    private void EmitNearCall(ulong target, ulong next, bool flagsLive)
    {
        ExitSite full = new() { Kind = ExitKind.Attention, Rip = target };
        nint island = 0;
        if (flagsLive)
        {
            island = EmitDepthCheck(ref _asm);
        }
        else
        {
            _asm.AluImmediate(Alu.Cmp, HostRegister.Rsp, addresses.ShadowLimit(_context));
            AddExit(Condition.Below, AddSite(full), saved: false);
        }
        EmitNearLink(_asm.Call(), target);
        EmitReturnSite(next);
        if (island == 0)
            return;
        _asm.PatchShortHere(island);
        EmitExit(full);
    }

    /// <summary>Unlinked it pushes the return site, which follows the region, and leaves.</summary>
    private void EmitFarCall(ulong target, ulong next)
    {
        nint region = _asm.Here;
        int site = AddSite(new ExitSite { Kind = ExitKind.Link, Form = LinkForm.FarCall, Rip = target, Patch = region });
        nint unlinked = _asm.Jump();
        LeaveRoom(region + FarCallSize);
        nint back = _asm.Here;
        EmitReturnSite(next);
        Site(site).Island = _asm.Here;
        AddCold(new ColdPath { Kind = ColdKind.FarCall, From = unlinked, AlsoFrom = _asm.Jump(), Back = back, Site = site });
    }

    private void EmitIndirectCall(in GuestInstruction i, ulong next)
    {
        nint resume = _asm.Here;
        LoadTarget(i);
        nint inline = i.InWindow ? EmitInlineRoom() : 0;
        // Without a window the probe of the slot comes between: the island is out of reach.
        Rejection unknown = stubs.EmitLookup(ref _asm, near: i.InWindow);
        if (!i.InWindow)
            _asm.Store(addresses.Held, HostRegister.Scratch); // the slot's probe takes r14
        StoreReturnAddress(i, next);
        if (!i.InWindow)
            _asm.Load(HostRegister.Scratch, addresses.Held);
        nint full = EmitDepthCheck(ref _asm);
        stubs.EmitCallFound(ref _asm);
        nint back = _asm.Here;
        EmitReturnSite(next);
        ExitSite site = new() { Rip = i.Rip, Resume = resume };
        _asm.LandHere(unknown);
        EmitUnknownTarget(i.InWindow ? site with { Form = LinkForm.InlineCall, Patch = inline } : site);
        _asm.PatchShortHere(full);
        _asm.Jump(stubs.Miss);
        if (i.InWindow)
            EmitInlineCall(i, next, back);
    }

    /// <summary>The call that an inline cache leads to. The site is the last one that was added.</summary>
    private void EmitInlineCall(in GuestInstruction i, ulong next, nint back)
    {
        ref ExitSite site = ref Site(sites.Count - 1);
        site.Cold = _asm.Here;
        StoreReturnAddress(i, next);
        nint full = EmitDepthCheck(ref _asm);
        site.Island = _asm.Call(stubs.Miss);
        _asm.Jump(back);
        _asm.PatchShortHere(full);
        _asm.Jump(stubs.Miss);
    }

    /// <summary>Returns the short displacement to where the return stack is full (see <see cref="LowLayout"/>). RCX goes, flags stay.</summary>
    private static nint EmitDepthCheck(ref Assembler asm)
    {
        asm.RotateRight32(HostRegister.Rcx, HostRegister.Rsp, LowLayout.ShadowShift);
        asm.OpRegister(false, 0xB60F, HostRegister.Rcx, HostRegister.Rcx); // MOVZX ecx, cl
        return asm.JumpIfRcxZero();
    }

    private void StoreReturnAddress(in GuestInstruction i, ulong next)
    {
        HostAddress slot = StackSlot(i, -Word, write: true);
        if (_code32 || (ulong)(long)(int)next == next)
        {
            _asm.StoreImmediate(slot, (int)next, wide: !_code32);
        }
        else
        {
            if (i.InWindow)
            {
                CodeAddress(HostRegister.Rcx, next);
                _asm.Store(slot, HostRegister.Rcx);
            }
            else
            {
                CodeAddress(HostRegister.Scratch, next);
                _asm.Store(slot, HostRegister.Scratch);
            }
        }
        MoveRsp(-Word);
    }

    /// <summary>Where a call returns: r14 is the guest address that was popped.</summary>
    private void EmitReturnSite(ulong next)
    {
        if (_code32)
        {
            _asm.Lea32(HostRegister.Rcx, HostAddress.At(HostRegister.Scratch, -(int)next));
        }
        else
        {
            CodeAddress(HostRegister.Rcx, next, negative: true);
            _asm.Lea(HostRegister.Rcx, new HostAddress(HostRegister.Rcx, HostRegister.Scratch, 0, 0));
        }
        Rejection wrong = stubs.EmitUnlessZero(ref _asm);
        EmitJumpTo(next, backward: false);
        _asm.LandHere(wrong);
        _asm.Jump(stubs.Mismatch);
    }

    private void EmitGuestReturn(in GuestInstruction i)
    {
        HostAddress slot = StackSlot(i, 0, write: false);
        int popped = Word + (i.Iced.OpCount == 1 ? i.Iced.Immediate16 : 0);
        int site = AddSite(new ExitSite { Kind = ExitKind.Interpret, Rip = i.Rip, Span = popped });
        StoreSite(addresses.LastReturn, site);
        LoadWord(HostRegister.Scratch, slot);
        MoveRsp(popped);
        _asm.Byte(0xC3);
    }

    /// <summary>Writes a far link over its region: if the link number is the one it was made in, go to <paramref name="target"/>.</summary>
    public static void WriteFarJump(ref Assembler asm, Addresses addresses, uint linkId, nint cold, nint target)
    {
        nint other = EmitScopeCheck(ref asm, addresses, linkId);
        asm.Jump(target);
        asm.PatchShortHere(other);
        asm.Jump(cold);
    }

    /// <param name="island">Within JRCXZ's reach; leads to the way out.</param>
    public static void WriteFarCall(ref Assembler asm, Addresses addresses, uint linkId, nint island, nint target)
    {
        asm.PatchShort(EmitScopeCheck(ref asm, addresses, linkId), island);
        asm.PatchShort(EmitDepthCheck(ref asm), island);
        asm.Call(target);
    }

    /// <summary>Writes an inline cache over its region: if the link number is the one it was made in, and r14 is that guest address, go to <paramref name="to"/>.</summary>
    public static void WriteInlineJump(ref Assembler asm, Stubs stubs, Addresses addresses, uint linkId, ulong target, nint to)
    {
        int start = asm.Length;
        nint other = EmitScopeCheck(ref asm, addresses, linkId);
        asm.Constant(HostRegister.Rcx, 0 - target);
        asm.Lea(HostRegister.Rcx, new HostAddress(HostRegister.Rcx, HostRegister.Scratch, 0, 0));
        Rejection wrong = stubs.EmitUnlessZero(ref asm);
        asm.Jump(to);
        asm.PatchShortHere(other);
        asm.LandHere(wrong);
        asm.Nops(InlineSize - (asm.Length - start));
    }

    /// <summary>Writes over a far link's region what finds its target in the jump cache each time.</summary>
    public static void WriteCachedJump(ref Assembler asm, ulong target, nint dispatch)
    {
        asm.Constant(HostRegister.Scratch, target);
        asm.Jump(dispatch);
    }

    /// <summary>As <see cref="WriteCachedJump"/>, for a call: it fills the region, so that the return site follows.</summary>
    public static void WriteCachedCall(ref Assembler asm, ulong target, nint island, nint dispatch)
    {
        asm.PatchShort(EmitDepthCheck(ref asm), island);
        asm.LongConstant(HostRegister.Scratch, target);
        asm.Call(dispatch);
    }

    /// <summary>Returns the short displacement to where another link number is current.</summary>
    private static nint EmitScopeCheck(ref Assembler asm, Addresses addresses, uint linkId)
    {
        asm.OpMemory(false, 0xB60F, HostRegister.Rcx, addresses.ScopeIsCurrent(linkId)); // MOVZX ecx, byte
        return asm.JumpIfRcxZero();
    }
}
