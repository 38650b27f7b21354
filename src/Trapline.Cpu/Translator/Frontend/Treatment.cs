namespace Trapline.Cpu.Translator.Frontend;

/// <summary>How an instruction is translated.</summary>
public enum Treatment : byte
{
    /// <summary>Translated code leaves and the interpreter performs it: everything privileged, rare or dangerous to run natively.</summary>
    Interpret,
    /// <summary>Its bytes are copied: no operand but constants and registers that have kept their places.</summary>
    Verbatim,
    /// <summary>Re-emitted with mapped registers and a checked memory operand.</summary>
    Reencode,
    /// <summary>As <see cref="Reencode"/>, with guest RCX as an implicit operand: shifts by CL, CMPXCHG16B.</summary>
    WithRcx,
    /// <summary>BT, BTS, BTR and BTC of a bit in memory that a register numbers.</summary>
    BitTest,
    /// <summary>No effect.</summary>
    Nothing,
    LoadConstant,
    LoadAddress,
    ByteSwap,
    ExchangeRax,
    Divide,
    Push,
    Pop,
    Leave,
    Call,
    Return,
    Jump,
    ConditionalJump,
    DisableInterrupts,
    EnableInterrupts,
    SwapGs,
    /// <summary>JRCXZ, JECXZ and LOOP.</summary>
    CountJump,
    PushFlags,
    /// <summary>INC and DEC in one byte (40 to 4F), which are REX prefixes in 64-bit code.</summary>
    StepRegister,
    /// <summary>MOV between the accumulator and an absolute address (A0 to A3), which has 64 bits in 64-bit code.</summary>
    AbsoluteMove,
    /// <summary>LODS, STOS, MOVS, SCAS and CMPS, once.</summary>
    StringStep,
    /// <summary>Its bytes are copied, with guest RCX back in its place for the time: AH to BH beside RCX, or CH.</summary>
    InRcx,
    /// <summary>REP STOS and REP MOVS.</summary>
    StringRun,
    /// <summary>RDTSC and RDTSCP: managed code gives the time, and the block goes on.</summary>
    ReadTime,
    /// <summary>PAUSE: counted, since whoever executes many is waiting.</summary>
    Pause,
    /// <summary>MOV from a segment register to a general one.</summary>
    ReadSelector,
    /// <summary>MOV from CR0, CR2, CR3 or CR4, in ring 0.</summary>
    ReadControl,
    /// <summary>RDPKRU.</summary>
    ReadKeys,
    /// <summary>CLD.</summary>
    ClearDirection,
    /// <summary>CLAC where AC is clear already, as at the start of every exception handler.</summary>
    ClearAccess,
}
