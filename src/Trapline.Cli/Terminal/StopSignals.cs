using System.Runtime.InteropServices;

namespace Trapline.Cli.Terminal;

/// <summary>The signals that ask this process to end, as an orderly way out instead of a sudden one.</summary>
internal sealed class StopSignals : IDisposable
{
    /// <summary>How long the orderly way may take before the process ends regardless.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    private static readonly (PosixSignal Signal, int Number)[] Watched =
        [(PosixSignal.SIGHUP, 1), (PosixSignal.SIGINT, 2), (PosixSignal.SIGQUIT, 3), (PosixSignal.SIGTERM, 15)];

    private readonly CancellationTokenSource _stop = new();
    private readonly List<PosixSignalRegistration> _registrations = [];
    private readonly Timer _deadline;
    private int _received;

    public StopSignals()
    {
        _deadline = new Timer(_ => EndNow());
        foreach ((PosixSignal signal, int number) in Watched)
            _registrations.Add(PosixSignalRegistration.Create(signal, context => Handle(context, number)));
    }

    /// <summary>Cancelled by the first signal that <see cref="Intercept"/> does not take.</summary>
    public CancellationToken Token => _stop.Token;

    /// <summary>The signal that stopped us, or 0.</summary>
    public int Received => Volatile.Read(ref _received);

    /// <summary>Asked first: returns true if the signal was meant for the guest and has been passed on.</summary>
    public Func<int, bool>? Intercept { get; set; }

    public void Dispose()
    {
        foreach (PosixSignalRegistration registration in _registrations)
            registration.Dispose();
        _deadline.Dispose();
    }

    private void Handle(PosixSignalContext context, int number)
    {
        context.Cancel = true;
        if (Intercept?.Invoke(number) == true)
            return;
        if (Interlocked.CompareExchange(ref _received, number, 0) != 0)
            return;
        _deadline.Change(Patience, Timeout.InfiniteTimeSpan);
        _stop.Cancel();
    }

    private void EndNow()
    {
#pragma warning disable RS0030 // The command line may end the process, and the orderly way has had its time.
        Environment.Exit(ExitCodes.SignalBase + Received);
#pragma warning restore RS0030
    }
}
