using Trapline.Cpu.Interpreter;
using Trapline.Cpu.Mmu;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Runtime;

namespace Trapline.Cpu;

/// <summary>One instruction by translation, for oracles that compare instruction by instruction.</summary>
public sealed unsafe partial class SoftwareVcpu
{
    /// <summary>Like <see cref="Step"/>, but the instruction is translated by itself and run natively where the translator takes it.</summary>
    /// <param name="safe">Translate without stack windows.</param>
    internal bool StepTranslated(bool safe, out PendingFault fault)
    {
        CpuState* s = State;
        TranslationFrame* f = _low.Frame;
        _ownerThread = Environment.CurrentManagedThreadId;
        _holdFaults = true;
        Block* block = FindBlock(s->Mode);
        _holdFaults = false;
        bool native = block != null && _translator!.TryTranslate(block, safe, out nint entry, maxInstructions: 1);
        if (!native)
            return Step(out fault);
        fault = default;
        PackFlags(f);
        bool vectors = false;
        for (; ; )
        {
            _translator.Prepare();
            uint number = _translator.Enter(entry, vectors);
            ref ExitSite site = ref _translator.Site(number);
            UnpackFlags(f);
            if (number == 0 && !Canonical(f->ExitAddress, 1))
            {
                site = ref _translator.Site(f->LastReturn);
                s->Gpr[4] -= (ulong)site.Span;
            }
            else if (number == 0 || site.Kind is ExitKind.Link or ExitKind.Attention)
            {
                s->Rip = number == 0 ? f->ExitAddress : site.Rip;
                return true;
            }
            bool write = site.Kind == ExitKind.WriteMiss || (site.Kind == ExitKind.Window && site.Size != 0);
            int size = site.Kind == ExitKind.Window ? site.Span : site.Size;
            if (site.Kind is ExitKind.ReadMiss or ExitKind.WriteMiss or ExitKind.Window && Fill(f->ExitAddress, size, write))
            {
                if (site.Kind == ExitKind.Window)
                    _translator.OpenWindow(f->ExitAddress);
                entry = site.Resume;
                vectors = site.Vectors;
                continue;
            }
            if (s->Rip == site.Rip)
                return Step(out fault);
            s->Rip = site.Rip;
            return true;
        }
    }
}
