using Trapline.X86;

namespace Trapline.Cpu.Tests.Translator;

/// <summary>Runs a vCPU on a thread of its own, so that a guest that never comes back fails its test instead of hanging it.</summary>
internal sealed class Watchdog : IDisposable
{
    /// <summary>Not a measure of anything: only a hang takes so long.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly Thread _thread;
    private StopReason _reason;
    private Exception? _exception;

    public Watchdog(Func<StopReason> run)
    {
        _thread = new Thread(() =>
        {
            try
            {
                _reason = run();
            }
            catch (Exception e)
            {
                _exception = e;
            }
        })
        { IsBackground = true };
        _thread.Start();
    }

    public void WaitUntil(Func<bool> condition) => Assert.True(SpinWait.SpinUntil(() => condition() || !_thread.IsAlive, Patience) && condition(), "the guest makes no progress");

    public StopReason Result()
    {
        Assert.True(_thread.Join(Patience), "the guest never came back");
        Assert.Null(_exception);
        return _reason;
    }

    public void Dispose() => _thread.Join(Patience);
}
