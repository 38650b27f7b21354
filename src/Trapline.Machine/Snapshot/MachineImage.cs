using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Machine;

/// <summary>A whole machine at one moment, in this process: what a snapshot file is written from and what clones begin with.</summary>
/// <remarks>Any number of machines can begin with one image; its RAM is shared among them page by page until written.</remarks>
public sealed class MachineImage : IDisposable
{
    internal MachineImage(MachineSpecification specification, CpuModel model, BoardState board, MemoryTemplate memory) =>
        (Specification, Model, Board, Memory) = (specification, model, board, memory);

    /// <summary>What the machine was built from.</summary>
    public MachineSpecification Specification { get; }

    /// <summary>The features of its processors, as resolved when it was built.</summary>
    public CpuModel Model { get; }

    internal BoardState Board { get; }

    internal MemoryTemplate Memory { get; }

    public void Dispose() => Memory.Dispose();
}
