using Trapline.Agent;
using Trapline.Control.Server;

namespace Trapline.Control.Tests;

/// <summary>Programs that a test plays, on the threads and streams that the agent's would have.</summary>
internal sealed class FakePrograms(Func<GuestProgram, FakePrograms, Task<ProgramResult>> main) : IGuestPrograms
{
    private readonly TaskCompletionSource<int> _signal = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<WindowSize> _resized = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public TaskCompletionSource<bool> Up { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Task<bool> Ready => Up.Task;

    /// <summary>The first signal.</summary>
    public Task<int> Signalled => _signal.Task;

    /// <summary>The first size that a terminal was given after its start.</summary>
    public Task<WindowSize> Resized => _resized.Task;

    public int Runs { get; private set; }

    public static FakePrograms Running(Func<GuestProgram, FakePrograms, Task<ProgramResult>> main)
    {
        FakePrograms programs = new(main);
        programs.Up.SetResult(true);
        return programs;
    }

    public Task<IGuestProcess?> StartAsync(GuestProgram program)
    {
        Runs++;
        return Task.FromResult<IGuestProcess?>(new Process(this, Task.Run(() => main(program, this))));
    }

    private sealed class Process(FakePrograms owner, Task<ProgramResult> ended) : IGuestProcess
    {
        public Task<ProgramResult> Ended => ended;

        public void Signal(int signal) => owner._signal.TrySetResult(signal);

        public void Resize(WindowSize window) => owner._resized.TrySetResult(window);
    }
}
