using Trapline.Agent;

namespace Trapline.Control.Server;

/// <summary>Runs programs in a guest.</summary>
public interface IGuestPrograms
{
    /// <summary>True when the guest is up; false when it has ended.</summary>
    Task<bool> Ready { get; }

    /// <summary>Starts a program; null if the guest has ended.</summary>
    /// <exception cref="InvalidOperationException">It runs as many as it can.</exception>
    Task<IGuestProcess?> StartAsync(GuestProgram program);
}

/// <summary>By the agent of the default guest.</summary>
public sealed class AgentPrograms(VirtualMachine machine) : IGuestPrograms
{
    public Task<bool> Ready => machine.WaitForAgentAsync();

    public Task<IGuestProcess?> StartAsync(GuestProgram program) => machine.StartProgramAsync(program);
}

/// <summary>The right to run one program; given back when disposed.</summary>
internal sealed class ExecSeat(IGuestPrograms programs, Action free) : IDisposable
{
    public IGuestPrograms Programs => programs;

    public void Dispose() => free();
}
