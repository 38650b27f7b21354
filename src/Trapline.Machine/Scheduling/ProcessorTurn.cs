using Trapline.Host;

namespace Trapline.Machine;

/// <summary>One vCPU's place in a <see cref="ProcessorShare"/>.</summary>
/// <remarks><see cref="TryTake"/>, <see cref="Wait"/>, <see cref="Yield"/> and <see cref="Leave"/> belong to the vCPU's thread. Fields are guarded by the share's lock.</remarks>
internal sealed class ProcessorTurn
{
    private readonly ProcessorShare _share;
    private volatile bool _called;

    /// <param name="kick">Makes the vCPU's engine return.</param>
    public ProcessorTurn(ProcessorShare share, Action kick)
    {
        (_share, Kick) = (share, kick);
        Place = new LinkedListNode<ProcessorTurn>(this);
    }

    public Action Kick { get; }
    public LinkedListNode<ProcessorTurn> Place { get; }
    public HostEvent Given { get; } = new();
    public bool IsRunning { get; set; }
    public long RunsSince { get; set; }
    public long WaitsSince { get; set; }

    /// <summary>Its slice is over and others wait.</summary>
    public volatile bool GiveWay;

    /// <summary>Asks for a processor, or for another slice of the one it has. False: it has to <see cref="Wait"/>.</summary>
    /// <param name="woken">It slept until now.</param>
    public bool TryTake(bool woken)
    {
        if (GiveWay)
            Leave();
        return _share.TryTake(this, woken);
    }

    /// <summary>Waits for its processor.</summary>
    /// <returns>False: <see cref="CallAway"/> came first, and it has none.</returns>
    public bool Wait()
    {
        while (!_called)
        {
            if (!Given.WaitUntil(_share.NextLook))
                _share.KickOverdue();
            else if (!_called && _share.TryTake(this, woken: false))
                return true;
        }
        _called = false;
        Leave();
        return false;
    }

    /// <summary>The vCPU spins: somebody who waits goes first.</summary>
    public void Yield()
    {
        if (_share.IsWanted)
            GiveWay = true;
    }

    public void Leave()
    {
        GiveWay = false;
        _share.Leave(this);
    }

    /// <summary>Wakes the vCPU from waiting for its turn, or from its next wait, because it is told to stand or to end. From any thread.</summary>
    public void CallAway()
    {
        _called = true;
        Given.Set();
    }
}
