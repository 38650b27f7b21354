namespace Trapline.Machine;

/// <summary>What to boot. The kind of kernel is told from its content.</summary>
public sealed record BootSpecification
{
    public required BootFile Kernel { get; init; }

    /// <summary>Initial RAM disk (Linux, PVH) or the first module (Multiboot).</summary>
    public BootFile? Initrd { get; init; }

    /// <summary>The kernel command line. For Multiboot the kernel's name is put in front, as boot loaders do.</summary>
    public string CommandLine { get; init; } = "";
}

/// <summary>Bytes with the name that error messages give them.</summary>
/// <param name="Name">The path or option the user typed.</param>
public sealed record BootFile(string Name, ReadOnlyMemory<byte> Content);
