namespace Trapline.Cpu.Translator.Emit;

/// <summary>The host's general registers by encoding, under the names of what translated code keeps in them.</summary>
/// <remarks>
/// Guest RAX, RDX, RBX, RBP, RSI, RDI stay where they are; RCX is in r13, RSP in r15, R12 to R15 in r8 to r11; R8 to R11 (the least used in
/// compiled code) live in <see cref="CpuState"/>. RCX and r14 are free within one guest instruction: RCX, because JRCXZ is the only branch that
/// needs no flags. r12 turns stack addresses into host addresses (<see cref="Passes.StackWindows"/>). The host's RSP is a private stack of return
/// addresses, never guest memory: signals land there.
/// </remarks>
public static class HostRegister
{
    public const int Rax = 0;
    /// <summary>Scratch; holds TLB addends.</summary>
    public const int Rcx = 1;
    public const int Rdx = 2;
    public const int Rbx = 3;
    public const int Rsp = 4;
    public const int Rbp = 5;
    public const int Rsi = 6;
    public const int Rdi = 7;
    /// <summary>Host address minus guest address of the stack's current page.</summary>
    public const int Window = 12;
    public const int GuestRcx = 13;
    /// <summary>Scratch; holds effective addresses and targets of indirect jumps.</summary>
    public const int Scratch = 14;
    public const int GuestRsp = 15;

    /// <summary>The guest register is in memory.</summary>
    public const int None = -1;

    private static readonly sbyte[] Homes = [0, 13, 2, 3, 15, 5, 6, 7, -1, -1, -1, -1, 8, 9, 10, 11];

    /// <summary>Where a guest register lives: a host register, or <see cref="None"/>.</summary>
    public static int Of(int guest) => Homes[guest];
}

/// <summary>A memory operand of emitted code.</summary>
/// <param name="Base">Host register or <see cref="HostRegister.None"/>.</param>
/// <param name="Index">Host register or <see cref="HostRegister.None"/>; never RSP.</param>
/// <param name="Scale">Log2 of the index's factor.</param>
/// <param name="Disp">Displacement; an absolute address if there is neither base nor index.</param>
public readonly record struct HostAddress(int Base, int Index, int Scale, int Disp)
{
    public static unsafe HostAddress Absolute(void* address) => new(HostRegister.None, HostRegister.None, 0, checked((int)(nint)address));
    public static HostAddress At(int register, int disp = 0) => new(register, HostRegister.None, 0, disp);
}
