using Trapline.Agent;

namespace Trapline.Control.Server;

/// <summary>Runs programs in a guest, one at a time.</summary>
public interface IGuestPrograms
{
    /// <summary>True when the guest is up; false when it has ended.</summary>
    Task<bool> Ready { get; }

    /// <summary>Ends with the program.</summary>
    Task<ProgramResult> RunAsync(GuestProgram program);

    /// <summary>Sends a signal to the program that runs.</summary>
    void Signal(int signal);
}

/// <summary>By the agent of the default guest.</summary>
public sealed class AgentPrograms(VirtualMachine machine) : IGuestPrograms
{
    public Task<bool> Ready => machine.WaitForAgentAsync();

    public Task<ProgramResult> RunAsync(GuestProgram program) => machine.ExecuteAsync(program);

    public void Signal(int signal) => machine.Signal(signal);
}

/// <summary>The right to run one program; given back when disposed.</summary>
internal sealed class ExecSeat(IGuestPrograms programs, Action free) : IDisposable
{
    public IGuestPrograms Programs => programs;

    public void Dispose() => free();
}
