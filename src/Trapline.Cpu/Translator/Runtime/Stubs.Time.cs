using Trapline.Cpu.Translator.Emit;

namespace Trapline.Cpu.Translator.Runtime;

/// <summary>
/// The guest's time-stamp counter, without leaving translated code: it counts the nanoseconds of the host's monotonic clock, plus what the machine and
/// the guest have set it off by, and the host's own function reads that.
/// </summary>
public sealed unsafe partial class Stubs
{
    // What the host's functions do not keep (System V ABI, x86-64, 3.2.1) and guest registers are at home in; RAX and RDX get the result.
    private static readonly int[] Kept = [6, 7, 12, 13, 14, 15];
    private const int NanosecondsPerSecond = 1_000_000_000, ClockMonotonic = 1;

    /// <summary>
    /// Sets guest RAX and RDX to the counter; flags and everything else stay. A jump of five bytes and a site follow the call, to leave by where the counter cannot be
    /// read here.
    /// </summary>
    public nint ReadTime { get; }

    /// <param name="clock">The host's <c>clock_gettime</c>.</param>
    private void EmitReadTime(ref Assembler asm, nint clock)
    {
        asm.Load32(HostRegister.Rcx, _a.TimeRuns);
        nint stands = asm.JumpIfRcxZero();
        nint runs = asm.Jump();
        asm.PatchShortHere(stands);
        EmitLeaveBySite(ref asm);

        asm.PatchHere(runs);
        asm.FlagsToAx();
        asm.Store(_a.Flags, HostRegister.Rax);
        foreach (int guest in Kept)
            asm.Store(_a.Gpr(guest), HostRegister.Of(guest));
        asm.AluMemoryImmediate(Alu.Cmp, _a.VectorsLoaded, 0, wide: false);
        nint none = asm.Jump(Condition.Equal);
        MoveVectors(ref asm, 0x7F);
        asm.PatchHere(none);
        asm.Store(_a.ShadowRsp, HostRegister.Rsp);
        asm.Load(HostRegister.Rsp, _a.HostRsp);
        asm.AluImmediate(Alu.And, HostRegister.Rsp, -16);
        asm.AluImmediate(Alu.Sub, HostRegister.Rsp, 16);
        asm.Move(HostRegister.Rsi, HostRegister.Rsp);
        asm.Constant(HostRegister.Rdi, ClockMonotonic);
        asm.Constant(HostRegister.Rax, (ulong)clock);
        asm.OpRegister(false, 0xFF, 2, HostRegister.Rax); // CALL
        asm.OpMemory(true, 0x69, HostRegister.Rax, HostAddress.At(HostRegister.Rsp)); // IMUL: seconds
        asm.Int32(NanosecondsPerSecond);
        asm.AluMemory(Alu.Add, HostRegister.Rax, HostAddress.At(HostRegister.Rsp, 8));
        asm.AluMemory(Alu.Add, HostRegister.Rax, _a.TimeLead);
        asm.AluMemory(Alu.Add, HostRegister.Rax, _a.TscOffset);
        asm.Store(_a.Held, HostRegister.Rax);
        asm.Load(HostRegister.Rsp, _a.ShadowRsp);
        asm.AluMemoryImmediate(Alu.Cmp, _a.VectorsLoaded, 0, wide: false);
        none = asm.Jump(Condition.Equal);
        MoveVectors(ref asm, 0x6F);
        asm.PatchHere(none);
        foreach (int guest in Kept)
            asm.Load(HostRegister.Of(guest), _a.Gpr(guest));
        asm.Load(HostRegister.Rax, _a.Flags);
        asm.FlagsFromAx();
        asm.Load32(HostRegister.Rax, _a.Held);
        asm.Load32(HostRegister.Rdx, _a.Held with { Disp = _a.Held.Disp + 4 });
        asm.Byte(0xC3);
    }
}
