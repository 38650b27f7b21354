using Trapline.Core;
using Trapline.Cpu;
using Trapline.Cpu.Translator.Debugging;

namespace Trapline.Machine;

/// <summary>What the translator makes of guest code that is not run.</summary>
public static class CodePreview
{
    /// <summary>Guest instructions beside host instructions, block after block.</summary>
    /// <param name="code">All of it in the page of <paramref name="address"/>.</param>
    /// <param name="supervisor">As ring 0, else ring 3.</param>
    /// <param name="safe">Without hoisted checks, as for frames that straddle two pages.</param>
    /// <param name="code32">32-bit code with flat segments, else 64-bit code.</param>
    /// <exception cref="BadInputException">This host has no translator, or the code does not fit.</exception>
    public static string Show(ReadOnlySpan<byte> code, ulong address, bool supervisor, bool safe, bool code32, CpuSpecification cpu)
    {
        if (SoftwareVcpu.TranslatorObstacle is { } obstacle)
            throw new BadInputException($"there is nothing to show on this host: {obstacle}");
        int room = TranslationPreview.Room(address);
        if (code.Length > room)
            throw new BadInputException($"code of {code.Length} bytes at 0x{address:x} crosses into another page: give at most {room} bytes");
        if (code32 && address >= uint.MaxValue - 0xFFF)
            throw new BadInputException($"32-bit code at 0x{address:x} is not translated: give an address below 0xfffff000");
        return TranslationPreview.Show(code, address, supervisor, safe, CpuModels.Resolve(cpu), code32);
    }
}
