using Trapline.Host;

namespace Trapline.Machine;

/// <summary>Gives the vCPUs of a machine that has more of them than the host has processors their turns, a time slice each.</summary>
/// <remarks>
/// The host could do that alone, but then nobody would know which vCPUs stand still: a vCPU that waits for a sibling's lock or for its answer to an interrupt
/// would spin through whole slices. Here a spinning vCPU gives its processor to one that has none, and a guest with KVM's interface sees which of its
/// vCPUs are away (it leaves them a TLB flush instead of waiting for one).
/// Who was woken goes first, the others in the order in which they came; nobody waits for ever, since the longest wait decides when it is long.
/// The lock is a leaf: vCPUs are kicked without it.
/// </remarks>
internal sealed class ProcessorShare
{
    /// <summary>Nanoseconds. Long enough that changing costs little, short enough for a guest's own time slices.</summary>
    private const long Slice = 3_000_000, LongestWait = 4 * Slice;

    private readonly Lock _lock = new();
    private readonly LinkedList<ProcessorTurn> _waiting = [];
    private readonly List<ProcessorTurn> _running = [];
    private readonly int _processors;

    private ProcessorShare(int processors) => _processors = processors;

    /// <summary>Null if each vCPU can have a processor for itself.</summary>
    public static ProcessorShare? For(int vcpus, int hostProcessors) => vcpus > hostProcessors ? new ProcessorShare(hostProcessors) : null;

    /// <summary>Asks for a processor; false: the turn waits, and its event is set when it has one.</summary>
    /// <param name="woken">It slept until now, by its own will.</param>
    public bool TryTake(ProcessorTurn turn, bool woken)
    {
        lock (_lock)
        {
            if (turn.IsRunning || turn.Place.List != null)
                return turn.IsRunning;
            if (_running.Count < _processors && _waiting.Count == 0)
            {
                Start(turn);
                return true;
            }
            turn.WaitsSince = HostTime.Nanoseconds;
            if (woken)
                _waiting.AddFirst(turn.Place);
            else
                _waiting.AddLast(turn.Place);
            Fill();
            return turn.IsRunning;
        }
    }

    /// <summary>The vCPU needs no processor for now.</summary>
    public void Leave(ProcessorTurn turn)
    {
        lock (_lock)
        {
            if (turn.IsRunning)
            {
                turn.IsRunning = false;
                _running.Remove(turn);
            }
            else if (turn.Place.List != null)
            {
                _waiting.Remove(turn.Place);
            }
            Fill();
        }
    }

    /// <summary>Somebody waits, and would have the processor of a vCPU that gives it up.</summary>
    public bool IsWanted => _waiting.Count != 0;

    /// <summary>When a vCPU that waits should look whether one that runs has had its slice (<see cref="KickOverdue"/>).</summary>
    public long NextLook
    {
        get
        {
            lock (_lock)
            {
                long first = long.MaxValue;
                foreach (ProcessorTurn turn in _running)
                    first = Math.Min(first, turn.RunsSince);
                return (first == long.MaxValue ? HostTime.Nanoseconds : first) + Slice;
            }
        }
    }

    /// <summary>Asks vCPUs whose slice is over to give their processors up.</summary>
    public void KickOverdue()
    {
        ProcessorTurn? overdue = null;
        lock (_lock)
        {
            long now = HostTime.Nanoseconds;
            foreach (ProcessorTurn turn in _running)
            {
                if (now - turn.RunsSince < Slice)
                    continue;
                turn.RunsSince = now; // the next look is a slice later
                overdue = turn;
                overdue.GiveWay = true;
                break;
            }
        }
        overdue?.Kick();
    }

    private void Fill()
    {
        while (_running.Count < _processors && _waiting.First is { } first)
        {
            // The last came first among those that were not woken; whoever has waited long is near the end.
            LinkedListNode<ProcessorTurn> next = first;
            long now = HostTime.Nanoseconds;
            for (LinkedListNode<ProcessorTurn>? node = first.Next; node != null; node = node.Next)
            {
                if (now - node.Value.WaitsSince >= LongestWait && node.Value.WaitsSince < next.Value.WaitsSince)
                    next = node;
            }
            _waiting.Remove(next);
            Start(next.Value);
            next.Value.Given.Set();
        }
    }

    private void Start(ProcessorTurn turn)
    {
        turn.IsRunning = true;
        turn.GiveWay = false;
        turn.RunsSince = HostTime.Nanoseconds;
        _running.Add(turn);
    }
}
