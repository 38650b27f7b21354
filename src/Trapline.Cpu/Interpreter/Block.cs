using System.Runtime.InteropServices;

namespace Trapline.Cpu.Interpreter;

/// <summary>A run of decoded instructions within one page (one instruction may reach into the next). The ops follow the header.</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct Block
{
    public ulong Rip;
    public uint Mode;
    public int Count;

    /// <summary>Backing-store offset of the first byte; with <see cref="Rip"/> and <see cref="Mode"/> the block's identity.</summary>
    public ulong Offset;

    /// <summary>Backing-store offset of the first byte in a second page, or <see cref="NoPage"/>.</summary>
    public ulong SecondOffset;

    /// <summary>Bytes of code in the first page.</summary>
    public int Bytes;

    /// <summary>Bytes of code in the second page.</summary>
    public int SecondBytes;

    /// <summary>Entry of its translation; 0 if there is none.</summary>
    public nint Native;

    /// <summary>How often it was interpreted.</summary>
    public int Heat;

    /// <summary>With <see cref="Native"/>: the translation's number.</summary>
    public int Translation;

    /// <summary>The two most recent successors, valid while their epoch is the current one.</summary>
    public Block* Link0;
    public Block* Link1;
    public ulong LinkEpoch0;
    public ulong LinkEpoch1;

    public const ulong NoPage = ulong.MaxValue;

    public static Op* Ops(Block* block) => (Op*)(block + 1);
}
