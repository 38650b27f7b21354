using Trapline.Cpu.Interpreter;
using Trapline.Cpu.Mmu;
using Trapline.Cpu.Translator;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Passes;
using Trapline.Cpu.Translator.Runtime;

namespace Trapline.Cpu;

/// <summary>One instruction by translation, for oracles that compare instruction by instruction.</summary>
public sealed unsafe partial class SoftwareVcpu
{
    /// <summary>Like <see cref="Step"/>, but the instruction is translated by itself and run natively where the translator takes it.</summary>
    /// <param name="safe">Translate without stack windows.</param>
    /// <param name="exact">Keep flags that the instruction overwrites for the case that it faults.</param>
    internal bool StepTranslated(bool safe, bool exact, out PendingFault fault)
    {
        CpuState* s = State;
        TranslationFrame* f = _low.Frame;
        _ownerThread = Environment.CurrentManagedThreadId;
        _holdFaults = true;
        Block* block = FindBlock(s->Mode);
        _holdFaults = false;
        BlockTranslator translator = _translator!;
        if (block == null || !translator.TryTranslate(block, safe ? Hoisting.None : Hoisting.All, out nint entry, alone: true, exact))
            return Step(out fault);
        fault = default;
        PackFlags(f);
        bool vectors = false;
        for (; ; )
        {
            translator.Prepare();
            uint number = translator.Enter(entry, vectors);
            ulong window = f->WindowPage;
            ref ExitSite site = ref translator.Site(number);
            bool memory = site.Kind is ExitKind.ReadMiss or ExitKind.WriteMiss;
            if (memory ? Fill(f->ExitAddress, site.Size, site.Kind == ExitKind.WriteMiss) && MayResume(site, window) : site.Kind == ExitKind.Window && MoveWindow(f->ExitAddress, site))
            {
                entry = site.Resume;
                vectors = site.Vectors;
                continue;
            }
            UnpackFlags(f);
            if (number == 0 && !Canonical(f->ExitAddress, 1))
            {
                site = ref translator.Site(f->LastReturn);
                s->Gpr[4] -= (ulong)site.Span;
            }
            else if (number == 0 || site.Kind == ExitKind.Link || (site.Kind == ExitKind.Attention && !site.Before))
            {
                s->Rip = number == 0 ? f->ExitAddress : site.Rip;
                return true;
            }
            if (s->Rip == site.Rip)
                return Step(out fault);
            s->Rip = site.Rip;
            return true;
        }
    }
}
