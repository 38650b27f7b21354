namespace Trapline.Images;

/// <summary>What the default guest is made of, read from the cache and checked.</summary>
/// <param name="Description">The packages and their versions, for people.</param>
/// <param name="KernelPath">For messages about the kernel.</param>
public sealed record GuestImages(
    string Description, string KernelPath, byte[] Kernel, byte[] Busybox, IReadOnlyList<(string Name, byte[] Content)> Modules);

/// <summary>What a fetch is doing.</summary>
/// <param name="Activity">Such as "fetching linux-image-6.1.0-1-cloud-amd64".</param>
/// <param name="Done">Bytes so far, or -1 where nobody knows.</param>
/// <param name="Total">Bytes in all, or -1.</param>
public readonly record struct FetchProgress(string Activity, long Done = -1, long Total = -1);
