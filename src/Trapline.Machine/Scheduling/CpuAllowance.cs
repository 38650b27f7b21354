using Trapline.Host;

namespace Trapline.Machine;

/// <summary>Caps a vCPU at a part of one host processor: it earns time at that rate, and runs while it has some.</summary>
/// <remarks>
/// What counts is the thread's processor time, so that a busy host takes nothing from it. A timer ends a run late rather than early; what was run too
/// long is paid back by waiting longer, so the average is exact. <see cref="Begin"/> and <see cref="End"/> belong to the vCPU's thread.
/// </remarks>
internal sealed class CpuAllowance : IDisposable
{
    /// <summary>Nanoseconds of a full turn of running and waiting.</summary>
    private const long Period = 40_000_000;

    /// <summary>What may be saved up, in turns: a vCPU that the host let wait catches up, one that slept long does not run for long without a cap.</summary>
    private const int Savings = 4;

    private readonly double _rate;
    private readonly long _turn;
    private readonly Timer _over;
    private long _balance, _earnedAt, _ranUntil;

    /// <param name="percent">Of one processor.</param>
    /// <param name="kick">Makes the vCPU's engine return.</param>
    public CpuAllowance(double percent, Action kick)
    {
        _rate = percent / 100;
        _turn = (long)(Period * _rate);
        _balance = _turn;
        _earnedAt = HostTime.Nanoseconds;
        _over = new Timer(_ => kick());
    }

    /// <summary>The vCPU is about to run.</summary>
    /// <returns>When it may, on <see cref="HostTime"/>'s scale; 0: now.</returns>
    public long Begin()
    {
        Earn();
        if (_balance <= 0)
            return HostTime.Nanoseconds + (long)((_turn - _balance) / _rate);
        _ranUntil = ThreadScheduling.CpuNanoseconds;
        _over.Change((_balance / 1_000_000) + 1, Timeout.Infinite);
        return 0;
    }

    /// <summary>The vCPU has run.</summary>
    public void End()
    {
        long now = ThreadScheduling.CpuNanoseconds;
        _balance -= now - _ranUntil;
        _ranUntil = now;
    }

    /// <summary>No kick is under way when this returns: the engine may go.</summary>
    public void Dispose() => _over.End();

    private void Earn()
    {
        long now = HostTime.Nanoseconds;
        _balance = Math.Min(_turn * Savings, _balance + (long)((now - _earnedAt) * _rate));
        _earnedAt = now;
    }
}
