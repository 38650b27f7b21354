using Trapline.Core;

namespace Trapline.Devices.InterruptControllers;

/// <summary>A wire that several devices drive: it is high while any of its inputs is (level-triggered PCI interrupts).</summary>
/// <remarks>Its lock is held while the target is set; it comes after every device lock and before the interrupt controllers'.</remarks>
public sealed class SharedLine(InterruptLine target)
{
    private readonly Lock _lock = new();
    private int _asserted;

    /// <summary>Makes one more input. Board construction only.</summary>
    public InterruptLine AddInput() => new Input(this);

    private sealed class Input(SharedLine owner) : InterruptLine
    {
        private bool _level;

        public override void Set(bool level)
        {
            lock (owner._lock)
            {
                if (level == _level)
                    return;
                _level = level;
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
