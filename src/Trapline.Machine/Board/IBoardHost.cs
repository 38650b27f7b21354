namespace Trapline.Machine;

/// <summary>What the board's chips and vCPUs ask of the machine that owns the board. Called from any thread, returns at once.</summary>
internal interface IBoardHost : IVcpuHost
{
    /// <summary>A reset line was pulsed.</summary>
    void ResetRequested(string by);

    /// <summary>The guest asked for an ACPI sleep state.</summary>
    void SleepRequested(int type);

    void PanicReported();

    void DebugExitWritten(int code);
}
