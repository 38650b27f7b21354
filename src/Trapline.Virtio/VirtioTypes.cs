namespace Trapline.Virtio;

/// <summary>Device types (virtio 1.2, 5).</summary>
public static class VirtioTypes
{
    public const ushort Network = 1;
    public const ushort Block = 2;
    public const ushort Console = 3;
    public const ushort Entropy = 4;
    public const ushort Balloon = 5;
    public const ushort NineP = 9;
    public const ushort Socket = 19;
    public const ushort FileSystem = 26;
}
