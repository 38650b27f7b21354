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
/// <remarks>Every cycle in guest code passes a backward jump or call or an indirect jump: attention is looked at there, and only there.</remarks>
public sealed unsafe partial class BlockEmitter
{
    /// <summary>Bytes of <see cref="WriteFarJump"/> and <see cref="WriteFarCall"/>.</summary>
    public const int FarJumpSize = 7 + 6 + 2 + 5 + 5;
    public const int FarCallSize = FarJumpSize + 6 + 3 + 6 + 2 + 5;

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
        EmitLookup(i);
        stubs.EmitJumpFound(ref _asm);
    }

    /// <summary>
    /// An indirect target into r14 and looked up, before anything changes: if it is not in the jump cache, managed code puts it there and the
    /// instruction begins anew, or the interpreter does it.
    /// </summary>
    private void EmitLookup(in GuestInstruction i)
    {
        nint resume = _asm.Here;
        EmitAttentionCheck(backward: true, i.Rip, flagsLive: true, before: true);
        LoadTarget(i);
        nint hit = stubs.EmitLookup(ref _asm);
        _asm.Store(addresses.ExitAddress, HostRegister.Scratch);
        EmitExit(new ExitSite { Kind = ExitKind.JumpMiss, Rip = i.Rip, Resume = resume });
        _asm.PatchShortHere(hit);
    }

    /// <summary>The target of an indirect jump or call into r14.</summary>
    private void LoadTarget(in GuestInstruction i)
    {
        if (i.Iced.Op0Kind == OpKind.Register)
        {
            int home = HostRegister.Of(i.Iced.Op0Register.GetNumber());
            if (home == HostRegister.None)
                _asm.Load(HostRegister.Scratch, addresses.Gpr(i.Iced.Op0Register.GetNumber()));
            else
                MoveWord(HostRegister.Scratch, home);
            return;
        }
        LoadWord(HostRegister.Scratch, Probe(i, Word, write: false));
    }

    private void EmitJumpTo(ulong target, bool backward)
    {
        bool near = SamePage(_block.Rip, target);
        EmitAttentionCheck(backward, target, !near || LiveAt(target) != 0);
        if (near)
            EmitNearLink(_asm.Jump(), target);
        else
            EmitFarJump(target);
    }

    private void EmitConditionalJump(in GuestInstruction i)
    {
        ulong target = i.Iced.NearBranchTarget;
        bool backward = target <= i.Rip;
        Condition condition = (Condition)(i.Iced.ConditionCode - ConditionCode.o); // both are in encoding order
        if (!SamePage(_block.Rip, target))
        {
            nint from = _asm.Jump(condition);
            _cold.Add(new ColdPath { Kind = ColdKind.FarJump, From = from, Target = target, Backward = backward, FlagsLive = true });
            return;
        }
        if (!backward)
        {
            EmitNearLink(_asm.Jump(condition), target);
            return;
        }
        // The loop's way is the short one: skip the check and the jump when the loop ends.
        nint skip = _asm.Jump((Condition)((int)condition ^ 1));
        EmitJumpTo(target, backward: true);
        _asm.PatchHere(skip);
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
        _cold.Add(new ColdPath { Kind = ColdKind.Exit, From = place, Site = site });
    }

    private void EmitFarJump(ulong target)
    {
        nint region = _asm.Here;
        int site = AddSite(new ExitSite { Kind = ExitKind.Link, Form = LinkForm.FarJump, Rip = target, Patch = region });
        nint toCold = _asm.Jump();
        while (_asm.Here < region + FarJumpSize)
            _asm.Byte(0xCC);
        _asm.PatchHere(toCold);
        SetCold(site);
        Leave(site);
    }

    /// <summary>Here is where a link leads while it is not linked.</summary>
    private void SetCold(int site) => System.Runtime.InteropServices.CollectionsMarshal.AsSpan(sites)[site].Cold = _asm.Here;

    /// <param name="before">Nothing of the instruction has happened yet; else only its jump is left.</param>
    private void EmitAttentionCheck(bool backward, ulong target, bool flagsLive, bool before = false)
    {
        if (!backward)
            return;
        int site = AddSite(new ExitSite { Kind = ExitKind.Attention, Rip = target, Before = before });
        if (!flagsLive)
        {
            _asm.AluMemoryImmediate(Alu.Cmp, addresses.Attention, 0, wide: false);
            AddExit(Condition.NotEqual, site, saved: false);
            return;
        }
        _asm.Load32(HostRegister.Rcx, addresses.Attention);
        nint calm = _asm.JumpIfRcxZero();
        Leave(site);
        _asm.PatchShortHere(calm);
    }

    private void EmitGuestCall(in GuestInstruction i)
    {
        ulong next = i.NextRip;
        if (!i.IsDirect)
        {
            EmitIndirectCall(i, next);
            return;
        }
        ulong target = i.Iced.NearBranchTarget;
        EmitAttentionCheck(target <= i.Rip, i.Rip, i.LiveAfter != 0, before: true);
        StoreReturnAddress(i, next);
        bool near = SamePage(_block.Rip, target);
        if (near)
        {
            EmitDepthCheck(i.LiveAfter != 0);
            EmitNearLink(_asm.Call(), target);
        }
        else
        {
            EmitFarCall(target);
        }
        EmitReturnSite(next);
    }

    /// <summary>
    /// Unlinked: push the return site, leave. The return site is what follows the region; the slow exit must push it too.
    /// </summary>
    private void EmitFarCall(ulong target)
    {
        nint region = _asm.Here;
        int site = AddSite(new ExitSite { Kind = ExitKind.Link, Form = LinkForm.FarCall, Rip = target, Patch = region });
        // The cold copy: reached by a jump from the linked code, or by the unlinked region's own.
        nint toCold = _asm.Jump();
        while (_asm.Here < region + FarCallSize)
            _asm.Byte(0xCC);
        nint over = _asm.Jump();
        _asm.PatchHere(toCold);
        SetCold(site);
        // PUSH of the return site's address, relative: CALL over the exit would push the wrong one.
        nint push = _asm.Call();
        nint returned = _asm.Jump();
        _asm.PatchHere(push);
        Leave(site);
        _asm.PatchHere(over);
        _asm.PatchHere(returned);
    }

    private void EmitIndirectCall(in GuestInstruction i, ulong next)
    {
        EmitLookup(i);
        if (!i.InWindow)
            _asm.Store(addresses.Held, HostRegister.Scratch); // the slot's probe takes r14
        StoreReturnAddress(i, next);
        if (!i.InWindow)
            _asm.Load(HostRegister.Scratch, addresses.Held);
        EmitDepthCheck(flagsLive: true);
        nint call = _asm.Call();
        nint over = _asm.Jump();
        _asm.PatchHere(call);
        stubs.EmitJumpFound(ref _asm);
        _asm.PatchHere(over);
        EmitReturnSite(next);
    }

    /// <summary>Before a call: if the return stack is full, start it anew.</summary>
    private void EmitDepthCheck(bool flagsLive)
    {
        int limit = addresses.ShadowLimit(_context);
        if (!flagsLive)
        {
            _asm.AluImmediate(Alu.Cmp, HostRegister.Rsp, limit);
            nint overflow = _asm.Jump(Condition.Below);
            _cold.Add(new ColdPath { Kind = ColdKind.ShadowOverflow, From = overflow, Back = _asm.Here });
            return;
        }
        nint fits = DepthField(ref _asm, limit);
        _asm.Load(HostRegister.Rsp, addresses.ShadowTop);
        _asm.Constant(HostRegister.Rcx, (ulong)stubs.Bottom);
        _asm.Store(HostAddress.At(HostRegister.Rsp), HostRegister.Rcx);
        _asm.PatchShortHere(fits);
    }

    /// <summary>RCX becomes 0, and the jump is taken, if the return stack has room. No flags: the stack is one aligned block (see LowLayout).</summary>
    private static nint DepthField(ref Assembler asm, int limit)
    {
        asm.RotateRight32(HostRegister.Rcx, HostRegister.Rsp, 18);
        asm.OpRegister(false, 0xB60F, HostRegister.Rcx, HostRegister.Rcx);
        LeaDisp32(ref asm, -(byte)(limit >> 18));
        return asm.JumpIfRcxZero();
    }

    /// <summary>LEA ecx, [rcx + constant], always with a 32-bit displacement.</summary>
    private static void LeaDisp32(ref Assembler asm, int constant)
    {
        asm.Lea32(HostRegister.Rcx, HostAddress.At(HostRegister.Rcx, int.MinValue));
        *(int*)asm.Writable(asm.Here - 4) = constant;
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
                _asm.Constant(HostRegister.Rcx, next);
                _asm.Store(slot, HostRegister.Rcx);
            }
            else
            {
                _asm.Constant(HostRegister.Scratch, next);
                _asm.Store(slot, HostRegister.Scratch);
            }
        }
        MoveRsp(-Word);
    }

    /// <summary>Where a call returns: r14 is the guest address that was popped.</summary>
    private void EmitReturnSite(ulong next)
    {
        ulong negative = 0 - next;
        if (_code32)
        {
            _asm.Lea32(HostRegister.Rcx, HostAddress.At(HostRegister.Scratch, (int)negative));
        }
        else
        {
            _asm.Constant(HostRegister.Rcx, negative);
            _asm.Lea(HostRegister.Rcx, new HostAddress(HostRegister.Rcx, HostRegister.Scratch, 0, 0));
        }
        nint right = _asm.JumpIfRcxZero();
        _asm.Jump(stubs.Mismatch);
        _asm.PatchShortHere(right);
        EmitJumpTo(next, backward: false);
    }

    private void EmitGuestReturn(in GuestInstruction i)
    {
        HostAddress slot = StackSlot(i, 0, write: false);
        int popped = Word + (i.Iced.OpCount == 1 ? i.Iced.Immediate16 : 0);
        int site = AddSite(new ExitSite { Kind = ExitKind.Interpret, Rip = i.Rip, Span = popped });
        _asm.StoreImmediate(addresses.LastReturn, site, wide: false);
        LoadWord(HostRegister.Scratch, slot);
        MoveRsp(popped);
        _asm.Byte(0xC3);
    }

    /// <summary>Writes a far link over its region: if the link identity is the one it was made in, go to <paramref name="target"/>.</summary>
    public static void WriteFarJump(ref Assembler asm, Addresses addresses, uint linkId, nint cold, nint target)
    {
        Guard(ref asm, addresses, linkId, cold);
        asm.Jump(target);
    }

    /// <param name="limit">Lowest return-stack pointer at which a call may still be made.</param>
    public static void WriteFarCall(ref Assembler asm, Addresses addresses, uint linkId, nint cold, int limit, nint target)
    {
        Guard(ref asm, addresses, linkId, cold);
        nint fits = DepthField(ref asm, limit);
        asm.Jump(cold);
        asm.PatchShortHere(fits);
        asm.Call(target);
    }

    /// <summary>Writes over a far link's region what finds its target in the jump cache each time.</summary>
    public static void WriteCachedJump(ref Assembler asm, ulong target, nint dispatch)
    {
        asm.Constant(HostRegister.Scratch, target);
        asm.Jump(dispatch);
    }

    /// <summary>As <see cref="WriteCachedJump"/>, for a call.</summary>
    public static void WriteCachedCall(ref Assembler asm, ulong target, nint cold, int limit, nint dispatch)
    {
        nint end = asm.Here + FarCallSize;
        nint fits = DepthField(ref asm, limit);
        asm.Jump(cold);
        asm.PatchShortHere(fits);
        asm.Constant(HostRegister.Scratch, target);
        asm.Call(dispatch);
        asm.Jump(end);
    }

    private static void Guard(ref Assembler asm, Addresses addresses, uint linkId, nint cold)
    {
        asm.Load32(HostRegister.Rcx, addresses.LinkId);
        LeaDisp32(ref asm, -(int)linkId);
        nint same = asm.JumpIfRcxZero();
        asm.Jump(cold);
        asm.PatchShortHere(same);
    }
}
