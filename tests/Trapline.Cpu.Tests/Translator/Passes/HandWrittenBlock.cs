using Iced.Intel;
using Trapline.Cpu.Translator.Frontend;
using Trapline.X86;

namespace Trapline.Cpu.Tests.Translator.Passes;

/// <summary>A block as the translator's frontend reads it, for tests of single passes.</summary>
internal static unsafe class HandWrittenBlock
{
    public const ulong At = 0x1000;

    private const int PageSize = 4096;

    public static GuestBlock Read(Action<Assembler> program) => Read(TranslatedGuest.Assemble(program, At));

    public static GuestBlock Read(byte[] program, bool code32 = false)
    {
        byte[] page = new byte[PageSize];
        Array.Fill(page, (byte)0xCC);
        program.CopyTo(page, 0);
        GuestBlock block = new();
        fixed (byte* code = page)
            new BlockReader().Read(code, page.Length, At, GuestBlock.MaxInstructions, new ModeRules(Supervisor: false, Vectors: true, new ModelFeatures(CpuModel.Max), Code32: code32), block);
        return block;
    }
}
