using Trapline.Host;

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
public sealed record BootFile(string Name, ReadOnlyMemory<byte> Content)
{
    /// <summary>Reads a whole file, into huge pages where the host has them: in small ones a kernel takes thousands of page faults.</summary>
    /// <exception cref="IOException">It cannot be read, or has become shorter meanwhile.</exception>
    public static byte[] ReadContent(FileStream file)
    {
        byte[] content = GC.AllocateUninitializedArray<byte>(checked((int)file.Length));
        HostPages.PreferHuge(content);
        file.ReadExactly(content);
        return content;
    }
}
