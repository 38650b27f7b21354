using System.Runtime.InteropServices;

namespace Trapline.Virtio.Block;

/// <summary>What a request asks for (virtio 1.2, 5.2.6).</summary>
internal enum BlockRequestType : uint
{
    Read = 0,
    Write = 1,
    Flush = 4,
    GetId = 8,
    Discard = 11,
    WriteZeroes = 13,
}

/// <summary>How it ended.</summary>
internal enum BlockStatus : byte
{
    Ok = 0,
    IoError = 1,
    Unsupported = 2,
}

/// <summary>The head of a request.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
internal readonly record struct BlockRequestHeader(BlockRequestType Type, uint Reserved, ulong Sector)
{
    public const int Size = 16;
}

/// <summary>A range to discard or to fill with zeroes.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
internal readonly record struct BlockRange(ulong Sector, uint Sectors, uint Flags)
{
    public const int Size = 16;

    public const uint Unmap = 1;
}
