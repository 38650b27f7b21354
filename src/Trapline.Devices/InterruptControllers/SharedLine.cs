using Trapline.Core;

namespace Trapline.Devices.InterruptControllers;

/// <summary>State of a shared wire: the level that each of its inputs states, in the order in which they were made.</summary>
[SavedState("shared-line", 1)]
public sealed record SharedLineState(bool[] Inputs);

/// <summary>A wire that several devices drive: it is high while any of its inputs is (level-triggered PCI interrupts).</summary>
/// <remarks>Its lock is held while the target is set; it comes after every device lock and before the interrupt controllers'.</remarks>
public sealed class SharedLine(InterruptLine target) : ISavedDevice<SharedLineState>
{
    private readonly Lock _lock = new();
    private readonly List<Input> _inputs = [];
    private int _asserted;

    /// <summary>Makes one more input. Board construction only.</summary>
    public InterruptLine AddInput()
    {
        Input input = new(this);
        _inputs.Add(input);
        return input;
    }

    public SharedLineState Save()
    {
        lock (_lock)
            return new SharedLineState([.. _inputs.Select(i => i.Level)]);
    }

    /// <summary>Restores the inputs without driving the target, which knows its own state.</summary>
    public void Restore(SharedLineState state)
    {
        lock (_lock)
        {
            for (int i = 0; i < _inputs.Count; i++)
                _inputs[i].Level = i < state.Inputs.Length && state.Inputs[i];
            _asserted = _inputs.Count(i => i.Level);
        }
    }

    private sealed class Input(SharedLine owner) : InterruptLine
    {
        /// <summary>The owner's lock.</summary>
        public bool Level { get; set; }

        public override void Set(bool level)
        {
            lock (owner._lock)
            {
                if (level == Level)
                    return;
                Level = level;
                owner._asserted += level ? 1 : -1;
                owner.Drive();
            }
        }
    }

    private void Drive() => target.Set(_asserted > 0);
}

/// <summary>One output that feeds several inputs: an ISA interrupt reaches both the 8259 pair and the I/O APIC.</summary>
public sealed class SplitLine(params InterruptLine[] targets) : InterruptLine
{
    private readonly InterruptLine[] _targets = [.. targets];

    public override void Set(bool level)
    {
        foreach (InterruptLine target in _targets)
            target.Set(level);
    }
}
