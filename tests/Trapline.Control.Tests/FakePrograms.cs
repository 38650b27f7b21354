using Trapline.Agent;
using Trapline.Control.Server;

namespace Trapline.Control.Tests;

/// <summary>Programs that a test plays, on the threads and streams that the agent's would have.</summary>
internal sealed class FakePrograms(Func<GuestProgram, FakePrograms, Task<ProgramResult>> main) : IGuestPrograms
{
    private readonly TaskCompletionSource<int> _signal = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public TaskCompletionSource<bool> Up { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Task<bool> Ready => Up.Task;

    /// <summary>The first signal.</summary>
    public Task<int> Signalled => _signal.Task;

    public int Runs { get; private set; }

    public static FakePrograms Running(Func<GuestProgram, FakePrograms, Task<ProgramResult>> main)
    {
        FakePrograms programs = new(main);
        programs.Up.SetResult(true);
        return programs;
    }

    public Task<ProgramResult> RunAsync(GuestProgram program)
    {
        Runs++;
        return Task.Run(() => main(program, this));
    }

    public void Signal(int signal) => _signal.TrySetResult(signal);
}
