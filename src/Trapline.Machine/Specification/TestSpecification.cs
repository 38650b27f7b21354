namespace Trapline.Machine;

/// <summary>What exists for tests.</summary>
public sealed record TestSpecification
{
    /// <summary>A write of v to port 0xF4 ends the machine with (v &lt;&lt; 1) | 1.</summary>
    public bool DebugExit { get; init; }

    /// <summary>Latches at 0xE0-0xEB, interrupt lines at 0x2000-0x2017, a memory page at 0xFF000000.</summary>
    public bool TestDevice { get; init; }

    /// <summary>Under KVM, local APICs are the kernel's, or the machine's. Null: the kernel's where that works and nobody wants to see each interrupt.</summary>
    public bool? KernelLocalApics { get; init; }
}
