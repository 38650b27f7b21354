namespace Trapline.Control.Api;

/// <summary>What is spoken on a connection after <c>POST …/exec</c> was answered with 101.</summary>
/// <remarks>
/// Frames as the guest's agent has them (<see cref="Agent.Frame"/>): a type, a zero, a length of two bytes, little-endian, and the payload of at most 4,096 bytes.
/// <para>
/// The client sends its arguments (Argument, ArgumentEnd), its variables (Variable, VariableEnd) and Start; then Stdin, StdinEnd, Signal, Window (of a program in a terminal) and CloseOutput.
/// At most <see cref="Agent.Frame.StreamWindow"/> bytes of input may be unacknowledged. The server sends Stdout, Stderr, AcknowledgeStdin (u32: bytes that
/// the program took) and, when the program has ended and all its output has been sent, Exit; then it closes. Without Exit the guest is gone. Output is
/// held back by the connection itself. A client that closes takes its program with it: SIGHUP, and SIGKILL after two seconds.
/// </para>
/// </remarks>
public static class ExecProtocol
{
    /// <summary>The value of the Upgrade header.</summary>
    public const string Name = "trapline-exec";

    /// <summary>Most bytes of arguments and variables together.</summary>
    public const int MaximumStrings = 1 << 20;
}
