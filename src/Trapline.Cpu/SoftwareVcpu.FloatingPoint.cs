namespace Trapline.Cpu;

public sealed unsafe partial class SoftwareVcpu
{
    /// <summary>FERR#: an x87 exception is pending and CR0.NE is clear. PC boards answer with IRQ 13.</summary>
    public Action? FloatingPointError { get; set; }
}
