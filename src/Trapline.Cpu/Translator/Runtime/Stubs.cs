using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Emit;

namespace Trapline.Cpu.Translator.Runtime;

/// <summary>The code that every translation shares: the way in, the way out, indirect jumps, refills of the soft TLB, and the bottom of the return stack.</summary>
/// <remarks>
/// The way in is an unmanaged function: the garbage collector treats the thread as gone, so guest code never delays a collection.
/// Between entry and exit host RSP points into the return stack in low memory, with room below for signal frames.
/// </remarks>
public sealed unsafe partial class Stubs
{
    private static readonly int[] CalleeSaved = [HostRegister.Rbx, HostRegister.Rbp, 12, 13, 14, 15];
    private readonly Addresses _a;
    private readonly bool _extract;

    /// <param name="extract">The host's PEXT is fast.</param>
    /// <param name="clock">The host's <c>clock_gettime</c>; 0: the time is managed code's.</param>
    public Stubs(ExecutableCode code, Addresses addresses, bool extract, nint clock = 0)
    {
        _a = addresses;
        _extract = extract;
        Assembler asm = code.BeginHot();
        EnterWithVectors = asm.Here;
        EmitSaveHost(ref asm);
        EmitLoadVectors(ref asm);
        nint toEnter = asm.Jump();
        asm.Align(16);
        Enter = asm.Here;
        EmitSaveHost(ref asm);
        asm.PatchHere(toEnter);
        EmitLoadGuest(ref asm);

        asm.Align(16);
        ExitByCall = asm.Here;
        asm.Pop(HostRegister.Scratch);
        asm.Load32(HostRegister.Scratch, HostAddress.At(HostRegister.Scratch));
        Exit = asm.Here;
        EmitExit(ref asm);

        asm.Align(16);
        LoadVectors = asm.Here;
        EmitVectorCheck(ref asm);

        asm.Align(16);
        LoadX87 = asm.Here;
        EmitX87Check(ref asm);

        EmitRefills(ref asm);

        if (clock != 0)
        {
            asm.Align(16);
            ReadTime = asm.Here;
            EmitReadTime(ref asm, clock);
        }

        asm.Align(16);
        Stop = asm.Here;
        asm.Load(HostRegister.Scratch, _a.StopAddress);
        Miss = asm.Here;
        asm.Store(_a.ExitAddress, HostRegister.Scratch);
        asm.Constant(HostRegister.Scratch, 0);
        asm.Jump(Exit);

        asm.Align(16);
        Bottom = asm.Here;
        asm.Constant(HostRegister.Rcx, (ulong)Bottom);
        asm.Push(HostRegister.Rcx);
        nint toDispatch = asm.Jump();
        asm.Align(16);
        Mismatch = asm.Here;
        asm.Load(HostRegister.Rsp, _a.ShadowTop);
        asm.Constant(HostRegister.Rcx, (ulong)Bottom);
        asm.Store(HostAddress.At(HostRegister.Rsp), HostRegister.Rcx);
        asm.PatchHere(toDispatch);
        Dispatch = asm.Here;
        EmitDispatch(ref asm);
        code.CommitHot(asm);
        code.Keep();
    }

    /// <summary>Unmanaged functions without arguments that run from <see cref="TranslationFrame.Entry"/> and return the exit site's number.</summary>
    public nint Enter { get; }
    public nint EnterWithVectors { get; }

    /// <summary>Leaves; the site's number follows the call.</summary>
    public nint ExitByCall { get; }
    private nint Exit { get; }

    /// <summary>Loads the guest's vector registers; the caller's next five bytes jump on, after them comes a site for unmasked exceptions.</summary>
    public nint LoadVectors { get; }

    /// <summary>Leaves with site 0: the target in r14 is not in the jump cache.</summary>
    public nint Miss { get; }

    /// <summary>The same at <see cref="TranslationFrame.StopAddress"/>, which the jump cache led here from.</summary>
    public nint Stop { get; }

    /// <summary>The return address at the bottom of the return stack.</summary>
    public nint Bottom { get; }

    /// <summary>A return came to the wrong place: start the return stack anew and jump to r14.</summary>
    public nint Mismatch { get; }

    /// <summary>Jumps to guest address r14.</summary>
    public nint Dispatch { get; }

    /// <summary>Looks r14 up in the jump cache. Flags stay as they are, RCX goes.</summary>
    /// <param name="near">Where misses go on is within the reach of a short jump.</param>
    public Rejection EmitLookup(ref Assembler asm, bool near = true)
    {
        EmitJumpSlot(ref asm);
        asm.Load(HostRegister.Rcx, new HostAddress(HostRegister.None, HostRegister.Rcx, 3, _a.JumpKeys));
        asm.Lea(HostRegister.Rcx, new HostAddress(HostRegister.Rcx, HostRegister.Scratch, 0, 0));
        asm.Push(HostRegister.Scratch);
        asm.Load(HostRegister.Scratch, _a.CodeKey);
        asm.Lea(HostRegister.Rcx, new HostAddress(HostRegister.Rcx, HostRegister.Scratch, 0, 0));
        asm.Pop(HostRegister.Scratch);
        return EmitUnlessZero(ref asm, near);
    }

    /// <summary>Goes on here if RCX is 0; flags stay, RCX goes. JRCXZ jumps if something is zero, so what must be is turned into what must not be.</summary>
    public Rejection EmitUnlessZero(ref Assembler asm, bool near = true)
    {
        if (_extract && near)
        {
            // PEXT of a value by itself is as many ones as it has: its low byte is zero only if the value is.
            asm.ExtractBits(HostRegister.Rcx, HostRegister.Rcx, HostRegister.Rcx);
            asm.OpRegister(false, 0xB60F, HostRegister.Rcx, HostRegister.Rcx); // MOVZX ecx, cl
            asm.OpMemory(false, 0xB60F, HostRegister.Rcx, _a.Equal);
            return new Rejection(asm.JumpIfRcxZero(), Near: true);
        }
        nint zero = asm.JumpIfRcxZero();
        nint other = asm.Jump();
        asm.PatchShortHere(zero);
        return new Rejection(other, Near: false);
    }

    /// <summary>Calls what <see cref="EmitLookup"/> found for r14.</summary>
    public void EmitCallFound(ref Assembler asm)
    {
        EmitJumpSlot(ref asm);
        asm.OpMemory(false, 0xFF, 2, new HostAddress(HostRegister.None, HostRegister.Rcx, 3, _a.JumpTargets));
    }

    /// <summary>Jumps to guest address r14, if the jump cache knows it. Flags stay; r12 helps, since what belongs there is in memory.</summary>
    /// <returns>Where it is not known, <see cref="EmitUnknown"/> comes first.</returns>
    public Rejection EmitJumpByCache(ref Assembler asm)
    {
        asm.Load(HostRegister.Rcx, _a.CodeKey);
        asm.Lea(HostRegister.Window, new HostAddress(HostRegister.Scratch, HostRegister.Rcx, 0, 0));
        EmitJumpSlot(ref asm);
        asm.Load(HostRegister.Scratch, new HostAddress(HostRegister.None, HostRegister.Rcx, 3, _a.JumpTargets));
        asm.Load(HostRegister.Rcx, new HostAddress(HostRegister.None, HostRegister.Rcx, 3, _a.JumpKeys));
        asm.Lea(HostRegister.Rcx, new HostAddress(HostRegister.Rcx, HostRegister.Window, 0, 0));
        Rejection unknown = EmitUnlessZero(ref asm);
        asm.Load(HostRegister.Window, _a.WindowDelta);
        asm.OpRegister(false, 0xFF, 4, HostRegister.Scratch);
        return unknown;
    }

    /// <summary>The guest address is in r14 again. r12 is not what it was, which leaving does not need.</summary>
    public void EmitUnknown(ref Assembler asm)
    {
        asm.Load(HostRegister.Rcx, _a.CodeKey);
        asm.Not(HostRegister.Rcx); // minus the key, minus one
        asm.Lea(HostRegister.Scratch, new HostAddress(HostRegister.Window, HostRegister.Rcx, 0, 1));
    }

    private void EmitDispatch(ref Assembler asm)
    {
        asm.Load32(HostRegister.Rcx, _a.Calm);
        nint attention = asm.JumpIfRcxZero();
        Rejection unknown = EmitJumpByCache(ref asm);
        asm.LandHere(unknown);
        EmitUnknown(ref asm);
        asm.PatchShortHere(attention);
        asm.Jump(Miss);
    }

    /// <summary><see cref="LowLayout.JumpSlot"/> of r14 into RCX, flags untouched.</summary>
    private static void EmitJumpSlot(ref Assembler asm)
    {
        asm.RotateRight32(HostRegister.Rcx, HostRegister.Scratch, 16);
        asm.Lea32(HostRegister.Rcx, new HostAddress(HostRegister.Rcx, HostRegister.Scratch, 0, 0));
        asm.OpRegister(false, 0xB70F, HostRegister.Rcx, HostRegister.Rcx); // MOVZX ecx, cx
    }

    private void EmitSaveHost(ref Assembler asm)
    {
        foreach (int register in CalleeSaved)
            asm.Push(register);
        asm.Store(_a.HostRsp, HostRegister.Rsp);
    }

    private void EmitLoadGuest(ref Assembler asm)
    {
        EmitReloadX87(ref asm);
        asm.Load(HostRegister.Rsp, _a.ShadowRsp);
        asm.Load(HostRegister.Rax, _a.Flags);
        asm.FlagsFromAx();
        for (int guest = 0; guest < 16; guest++)
            if (HostRegister.Of(guest) != HostRegister.None)
                asm.Load(HostRegister.Of(guest), _a.Gpr(guest));
        asm.Load(HostRegister.Window, _a.WindowDelta);
        asm.OpMemory(false, 0xFF, 4, _a.Entry);
    }

    private void EmitExit(ref Assembler asm)
    {
        asm.Store(_a.Gpr(0), HostRegister.Rax);
        asm.FlagsToAx();
        asm.Store(_a.Flags, HostRegister.Rax);
        for (int guest = 1; guest < 16; guest++)
            if (HostRegister.Of(guest) != HostRegister.None)
                asm.Store(_a.Gpr(guest), HostRegister.Of(guest));
        asm.AluMemoryImmediate(Alu.Cmp, _a.VectorsLoaded, 0, wide: false);
        nint none = asm.Jump(Condition.Equal);
        MoveVectors(ref asm, 0x7F);
        asm.OpMemory(false, 0xAE0F, 3, _a.Mxcsr);
        asm.OpMemory(false, 0xAE0F, 2, _a.HostMxcsr);
        asm.StoreImmediate(_a.VectorsLoaded, 0, wide: false);
        asm.Byte(0xC5); // VZEROUPPER
        asm.Byte(0xF8);
        asm.Byte(0x77);
        asm.PatchHere(none);
        EmitSaveX87(ref asm);
        asm.Move32(HostRegister.Rax, HostRegister.Scratch);
        asm.Store(_a.ShadowRsp, HostRegister.Rsp);
        asm.Load(HostRegister.Rsp, _a.HostRsp);
        for (int i = CalleeSaved.Length - 1; i >= 0; i--)
            asm.Pop(CalleeSaved[i]);
        asm.Byte(0xC3);
    }

    private const int SiteAfterCall = 5;

    /// <summary>In a stub that was called: leaves by the site whose number follows the caller's jump of five bytes.</summary>
    private void EmitLeaveBySite(ref Assembler asm)
    {
        asm.Pop(HostRegister.Scratch);
        asm.Load32(HostRegister.Scratch, HostAddress.At(HostRegister.Scratch, SiteAfterCall));
        asm.Jump(Exit);
    }

    private void EmitLoadVectors(ref Assembler asm)
    {
        MoveVectors(ref asm, 0x6F);
        asm.OpMemory(false, 0xAE0F, 2, _a.Mxcsr);
        asm.StoreImmediate(_a.VectorsLoaded, 1, wide: false);
    }

    /// <summary>An unmasked exception would reach the host as a signal: such code is the interpreter's. Preserves flags.</summary>
    private void EmitVectorCheck(ref Assembler asm)
    {
        asm.Store(_a.Spill, HostRegister.Rax);
        asm.FlagsToAx();
        asm.Load32(HostRegister.Rcx, _a.Mxcsr);
        asm.OpRegister(false, 0xF7, 2, HostRegister.Rcx); // NOT
        asm.OpRegister(false, 0xF7, 0, HostRegister.Rcx); // TEST: any of the six masks clear?
        asm.Int32(0x1F80);
        nint masked = asm.Jump(Condition.Equal);
        asm.FlagsFromAx();
        asm.Load(HostRegister.Rax, _a.Spill);
        EmitLeaveBySite(ref asm);
        asm.PatchHere(masked);
        asm.FlagsFromAx();
        asm.Load(HostRegister.Rax, _a.Spill);
        EmitLoadVectors(ref asm);
        asm.Byte(0xC3);
    }

    /// <summary>VMOVDQU between all YMM registers and their places in the state: opcode 6F loads, 7F stores.</summary>
    private void MoveVectors(ref Assembler asm, int opcode)
    {
        for (int i = 0; i < 16; i++)
        {
            asm.Byte(0xC5);
            asm.Byte((i < 8 ? 0x80 : 0) | 0x7E);
            asm.Byte(opcode);
            asm.Operand(i, _a.Ymm(i));
        }
    }
}
