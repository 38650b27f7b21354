namespace Trapline.Machine;

/// <summary>What ends the machine besides power-off and triple fault.</summary>
public sealed record EndSpecification
{
    /// <summary>A reboot ends the machine instead of starting it anew.</summary>
    public bool NoReboot { get; init; }

    /// <summary>Offers the panic notification device; a reported panic ends the machine.</summary>
    public bool PanicDevice { get; init; } = true;

    /// <summary>A machine whose vCPUs have slept for two seconds with interrupts off ends, instead of sleeping for ever.</summary>
    public bool WhenHaltedForGood { get; init; }

    /// <summary>Host time after which the machine is ended; null for no limit.</summary>
    public TimeSpan? Timeout { get; init; }
}
