namespace Trapline.Core;

/// <summary>A wire from a device to an interrupt controller input; the device knows neither the controller nor the number.</summary>
/// <remarks>Setting a level that is already set does nothing, so a device may state its level after every register access.</remarks>
public abstract class InterruptLine
{
    /// <summary>A line that goes nowhere, for tests and unconnected pins.</summary>
    public static InterruptLine Detached { get; } = new DetachedLine();

    public abstract void Set(bool level);

    /// <summary>A rising edge followed by a falling one.</summary>
    public void Pulse()
    {
        Set(true);
        Set(false);
    }

    private sealed class DetachedLine : InterruptLine
    {
        public override void Set(bool level) { }
    }
}

/// <summary>A message-signalled interrupt: a device's write of <paramref name="Data"/> to the interrupt address range.</summary>
public readonly record struct MsiMessage(ulong Address, uint Data);

/// <summary>Where message-signalled interrupts go (PCI functions, HPET, I/O APIC).</summary>
public interface IMsiSink
{
    void Send(MsiMessage message);
}
