using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Machine.Tests;

/// <summary>Guests of a few instructions, assembled here, in flat 32-bit mode (a Multiboot kernel); they talk through port 0xE9.</summary>
internal static class SmallGuest
{
    public const uint Entry = 0x10_0060;

    private const uint PageDirectory = 0x20_0000;

    /// <summary>A machine that runs this code on the interpreter.</summary>
    public static MachineSpecification Specification(Action<Assembler> code, DebugLine output, ulong megabytes = 32) => new()
    {
        MemoryBytes = megabytes << 20,
        Cpu = new CpuSpecification { Engine = "interpreter" },
        Boot = new BootSpecification { Kernel = new BootFile("guest", Image(code)) },
        Consoles = new ConsoleSpecification { DebugConsole = output },
        Test = new TestSpecification { DebugExit = true },
        End = new EndSpecification { NoReboot = true, Timeout = TimeSpan.FromMinutes(1) },
    };

    /// <summary>Says one letter.</summary>
    public static void Say(Assembler a, char letter)
    {
        a.mov(al, (sbyte)letter);
        a.@out(0xE9, al);
    }

    public static void Exit(Assembler a, byte value)
    {
        a.mov(al, (sbyte)value);
        a.@out(0xF4, al);
        a.hlt();
    }

    /// <summary>Maps all 4 GiB to itself in 4 MiB pages and switches paging on (SDM Vol. 3, 4.3).</summary>
    public static void EnablePaging(Assembler a)
    {
        Label next = a.CreateLabel();
        a.mov(edi, PageDirectory);
        a.mov(eax, 0x83); // present, writable, 4 MiB
        a.mov(ecx, 1024);
        a.Label(ref next);
        a.mov(__dword_ptr[edi], eax);
        a.add(edi, 4);
        a.add(eax, 0x40_0000);
        a.dec(ecx);
        a.jnz(next);
        a.mov(eax, PageDirectory);
        a.mov(cr3, eax);
        a.mov(eax, cr4);
        a.or(eax, 0x10); // PSE
        a.mov(cr4, eax);
        a.mov(eax, cr0);
        a.or(eax, unchecked((int)0x8000_0000)); // PG
        a.mov(cr0, eax);
    }

    /// <summary>An interrupt gate in a table at 2 MiB; the loader's code segment is kept.</summary>
    public static void GateToEax(Assembler a, int vector)
    {
        const int table = 0x20_0000;
        a.mov(__word_ptr[table + (vector * 8)], ax);
        a.shr(eax, 16);
        a.mov(__word_ptr[table + (vector * 8) + 6], ax);
        a.mov(ax, cs);
        a.mov(__word_ptr[table + (vector * 8) + 2], ax);
        a.mov(__word_ptr[table + (vector * 8) + 4], 0x8E00 - 0x10000);
        a.mov(__word_ptr[table - 8], 0x7FF);
        a.mov(__dword_ptr[table - 6], table);
        a.lidt(__[table - 8]);
    }

    private static byte[] Image(Action<Assembler> code)
    {
        Assembler assembler = new(32);
        code(assembler);
        using MemoryStream stream = new();
        assembler.Assemble(new StreamCodeWriter(stream), Entry);
        byte[] image = BootImages.MultibootFlat();
        stream.ToArray().CopyTo(image, 0x60);
        return image;
    }
}
