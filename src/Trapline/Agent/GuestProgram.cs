namespace Trapline.Agent;

/// <summary>A program to run in the guest.</summary>
public sealed record GuestProgram
{
    /// <summary>The program and its arguments, byte for byte. A program without a slash is looked up in the guest's PATH.</summary>
    public required IReadOnlyList<ReadOnlyMemory<byte>> Arguments { get; init; }

    /// <summary>NAME=VALUE; what a guest's login has (PATH, HOME, USER, SHELL, TERM) is added unless named here.</summary>
    public IReadOnlyList<string> Environment { get; init; } = [];

    public ProgramPlace Place { get; init; } = ProgramPlace.Pipes;

    /// <summary>The size of its terminal, if it has one.</summary>
    public WindowSize Window { get; init; }

    /// <summary>Read to its end as the program's standard input; null for none. The caller owns all three streams.</summary>
    public Stream? Stdin { get; init; }

    public Stream Stdout { get; init; } = Stream.Null;

    public Stream Stderr { get; init; } = Stream.Null;
}

/// <summary>What a program's streams are in the guest. The values are the protocol's.</summary>
public enum ProgramPlace : byte
{
    /// <summary>The guest's console, whose session it is; our streams are not used.</summary>
    Console = 0,
    /// <summary>Three pipes.</summary>
    Pipes = 1,
    /// <summary>A terminal of its own: what is typed is standard input, what it shows standard output.</summary>
    Terminal = 2,
}

/// <summary>A program that runs in the guest.</summary>
public interface IGuestProcess
{
    /// <summary>Ends with the program, its output delivered. Never faults.</summary>
    Task<ProgramResult> Ended { get; }

    /// <summary>Sends a signal to its process group.</summary>
    void Signal(int signal);

    /// <summary>Tells its terminal its size.</summary>
    void Resize(WindowSize window);
}

/// <summary>How a program in the guest ended.</summary>
public enum ProgramEnd
{
    /// <summary>It exited with a status.</summary>
    Exited,
    /// <summary>A signal killed it.</summary>
    Signalled,
    /// <summary>The guest started anew (or ended) before the program did.</summary>
    GuestGone,
}

/// <param name="End">How it ended.</param>
/// <param name="Value">The exit status or the signal.</param>
public readonly record struct ProgramResult(ProgramEnd End, int Value)
{
    /// <summary>As a shell gives it: the status, or 128 and the signal.</summary>
    public int ExitCode => End == ProgramEnd.Signalled ? 128 + Value : Value;
}
