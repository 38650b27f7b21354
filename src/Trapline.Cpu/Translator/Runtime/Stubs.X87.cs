using Trapline.Cpu.Translator.Emit;

namespace Trapline.Cpu.Translator.Runtime;

/// <summary>
/// The guest's x87 state to and from the host's FPU. It is loaded when a translation first needs it, and only while all exceptions are masked: then
/// nothing that x87 code does can fault. Leaving translated code saves it as an image and gives the host an empty FPU; if the same translation goes
/// on, a TLB miss having been dealt with, the image goes back as it is, else managed code takes it apart.
/// </summary>
public sealed unsafe partial class Stubs
{
    private const int AllMasked = 0x3F;

    /// <summary>
    /// Loads the guest's x87 state, as <see cref="LoadVectors"/> loads vectors: a jump of five bytes and a site follow the call. RCX survives.
    /// </summary>
    public nint LoadX87 { get; }

    /// <summary>An unmasked exception would reach the host as a signal: such code is the interpreter's. Preserves flags.</summary>
    private void EmitX87Check(ref Assembler asm)
    {
        asm.Push(HostRegister.Rcx);
        asm.Store(_a.Spill, HostRegister.Rax);
        asm.FlagsToAx();
        asm.OpMemory(false, 0xB70F, HostRegister.Rcx, _a.Fcw); // MOVZX
        asm.OpRegister(false, 0xF7, 2, HostRegister.Rcx); // NOT
        asm.OpRegister(false, 0xF7, 0, HostRegister.Rcx); // TEST: any of the six masks clear?
        asm.Int32(AllMasked);
        nint masked = asm.Jump(Condition.Equal);
        asm.FlagsFromAx();
        asm.Load(HostRegister.Rax, _a.Spill);
        asm.Pop(HostRegister.Rcx);
        EmitLeaveBySite(ref asm);
        asm.PatchHere(masked);
        asm.FlagsFromAx();
        asm.Load(HostRegister.Rax, _a.Spill);
        EmitLoadX87(ref asm);
        asm.Pop(HostRegister.Rcx);
        asm.Byte(0xC3);
    }

    /// <summary>
    /// With TOP 0, eight loads fill R7 to R0 as they are, NaNs and all; then an environment sets TOP, tags and the rest. Leaves flags alone.
    /// </summary>
    private void EmitLoadX87(ref Assembler asm)
    {
        asm.Byte(0xDB); // FNINIT
        asm.Byte(0xE3);
        for (int physical = 7; physical >= 0; physical--)
            asm.OpMemory(false, 0xDB, 5, _a.Fpr(physical)); // FLD m80
        asm.OpMemory(false, 0xB70F, HostRegister.Rcx, _a.Fcw);
        asm.Store32(_a.X87Image, HostRegister.Rcx);
        asm.OpMemory(false, 0xB70F, HostRegister.Rcx, _a.Fsw);
        asm.OpMemory(false, 0xB60F, HostRegister.Scratch, _a.FpuTop);
        asm.RotateRight32(HostRegister.Scratch, HostRegister.Scratch, 32 - 11);
        asm.Lea32(HostRegister.Rcx, new HostAddress(HostRegister.Rcx, HostRegister.Scratch, 0, 0));
        asm.Store32(Image(4), HostRegister.Rcx);
        // Two bits for each register: 3 if it is empty, else anything else, which the processor works out by itself.
        asm.OpMemory(false, 0xB60F, HostRegister.Rcx, _a.FpuTags);
        asm.OpRegister(false, 0xF7, 2, HostRegister.Rcx); // NOT
        asm.Constant(HostRegister.Scratch, 0x5555);
        asm.DepositBits32(HostRegister.Rcx, HostRegister.Rcx, HostRegister.Scratch);
        asm.Lea32(HostRegister.Rcx, new HostAddress(HostRegister.Rcx, HostRegister.Rcx, 1, 0));
        asm.Store32(Image(8), HostRegister.Rcx);
        asm.OpMemory(false, 0xD9, 4, _a.X87Image); // FLDENV
        SetPlace(ref asm, X87Place.Host);
    }

    /// <summary>FNSAVE, which leaves the FPU as .NET expects it: initialized and empty.</summary>
    private void EmitSaveX87(ref Assembler asm)
    {
        asm.AluMemoryImmediate(Alu.Cmp, _a.X87, (int)X87Place.State, wide: false);
        nint none = asm.Jump(Condition.Equal);
        asm.OpMemory(false, 0xDD, 6, _a.X87Image); // FNSAVE
        SetPlace(ref asm, X87Place.Image);
        asm.PatchHere(none);
    }

    /// <summary>Going on after an exit at which no one looked.</summary>
    private void EmitReloadX87(ref Assembler asm)
    {
        asm.AluMemoryImmediate(Alu.Cmp, _a.X87, (int)X87Place.Image, wide: false);
        nint none = asm.Jump(Condition.NotEqual);
        asm.OpMemory(false, 0xDD, 4, _a.X87Image); // FRSTOR
        SetPlace(ref asm, X87Place.Host);
        asm.PatchHere(none);
    }

    private void SetPlace(ref Assembler asm, X87Place place) => asm.StoreImmediate(_a.X87, (int)place, wide: false);

    private HostAddress Image(int offset) => _a.X87Image with { Disp = _a.X87Image.Disp + offset };
}
