using System.Text;
using Trapline.Cpu.Interpreter;
using Trapline.Cpu.Mmu;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Frontend;
using Trapline.Cpu.Translator.Passes;
using Trapline.Cpu.Translator.Runtime;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Cpu.Translator.Debugging;

/// <summary>Shows what the translator makes of some bytes, without running anything.</summary>
public static unsafe class TranslationPreview
{
    private const int PageSize = 4096;

    /// <summary>The most bytes that can be shown from an address: translation stays within a page.</summary>
    public static int Room(ulong address) => PageSize - (int)(address & (PageSize - 1));

    /// <summary>Code, block after block. What follows it is taken to be INT3, so all flags are live at its end.</summary>
    /// <param name="code">At most <see cref="Room"/> bytes.</param>
    /// <param name="supervisor">As ring 0, else ring 3.</param>
    /// <param name="safe">Without hoisted checks.</param>
    /// <param name="code32">32-bit code, all of whose segments are flat; else 64-bit code.</param>
    /// <param name="model">The guest's processor.</param>
    /// <param name="options">As this host would do it, if left out.</param>
    public static string Show(ReadOnlySpan<byte> code, ulong address, bool supervisor, bool safe, CpuModel model, bool code32 = false, TranslatorOptions? options = null)
    {
        uint size = code32 ? BlockMode.Code32 | BlockMode.WideFs | BlockMode.WideGs : BlockMode.Code64;
        using LowLayout low = new();
        using GuestMemory memory = GuestMemory.Flat(PageSize);
        using VcpuMmu mmu = new(low.State, memory, model, low.Tlb, low.Frame);
        using BlockTranslator translator = new(low, memory, mmu, model, options ?? new TranslatorOptions(1 << 20));
        new Span<byte>(memory.BackingBase, PageSize).Fill(0xCC);
        code.CopyTo(new Span<byte>(memory.BackingBase + (address & (PageSize - 1)), code.Length));
        Collector collector = new(translator);
        translator.Watcher = collector;
        int context = supervisor ? SoftTlb.Supervisor : SoftTlb.User;
        int done = 0;
        while (done < code.Length)
        {
            ulong rip = address + (ulong)done;
            Block block = new()
            {
                Rip = rip,
                Mode = size | BlockMode.Flat | (uint)context << BlockMode.ContextShift,
                Offset = rip & (PageSize - 1),
                SecondOffset = Block.NoPage,
            };
            if (!translator.TryTranslate(&block, safe ? Hoisting.None : Hoisting.All, out _))
                break;
            done += collector.Bytes;
        }
        return collector.Text.ToString();
    }

    private sealed class Collector(BlockTranslator translator) : ITranslationWatcher
    {
        public StringBuilder Text { get; } = new();
        public int Bytes { get; private set; }

        public void Translated(GuestBlock block, Translation translation)
        {
            // Blocks point at the preview's own: the translator must not come back to it.
            translation.Origin = null;
            Bytes = block.Bytes;
            Text.Append(translator.List(block, translation)).Append('\n');
        }

        public void Moved(Translation translation, Translation from)
        {
        }

        public void Dropped(Translation translation)
        {
        }

        public void Flushed(int translations, string reason)
        {
        }
    }
}
