namespace Trapline.X86;

/// <summary>What the machine asks of an engine for the paravirtual interface that it provides itself. Only between two calls of <see cref="IVcpuEngine.Run"/>.</summary>
public interface IParavirtualEngine
{
    /// <summary>A halted vCPU goes on behind its HLT without an event; any other is not touched.</summary>
    void LeaveHalt();

    /// <summary>Forgets every cached translation of linear addresses, global ones too.</summary>
    void FlushTranslations();
}
