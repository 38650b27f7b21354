using System.Runtime.Intrinsics.X86;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Runtime;

namespace Trapline.Cpu;

/// <summary>The x87 state that translated code left behind.</summary>
public sealed unsafe partial class SoftwareVcpu
{
    /// <summary>Bits of the control word that exist; bit 6 reads as 1.</summary>
    private const uint ControlWordBits = 0x1F3F, ControlWordFixed = 0x40;

    /// <summary>Takes the image apart: registers by physical number, one bit of tag each, the pointers as translated code noted them.</summary>
    private void TakeX87(TranslationFrame* f)
    {
        CpuState* s = State;
        uint* words = (uint*)f->X87Image;
        uint status = words[1], tags = words[2];
        s->Fcw = (ushort)(words[0] & ControlWordBits | ControlWordFixed);
        s->Fsw = (ushort)(status & ~0x3800u);
        uint top = status >> 11 & 7;
        s->FpuTop = (byte)top;
        s->FpuTags = (byte)Bmi2.ParallelBitExtract(~(tags & tags >> 1), 0x5555);
        byte* register = f->X87Image + 28;
        for (uint i = 0; i < 8; i++, register += 10)
        {
            ulong* to = s->Fpr + (top + i & 7) * 2;
            to[0] = *(ulong*)register;
            to[1] = *(ushort*)(register + 8);
        }
        if (f->X87Last != 0)
        {
            ref ExitSite last = ref _translator!.Site(f->X87Last);
            s->Fip = last.X87Cleared ? 0 : last.Rip;
            s->Fop = last.X87Opcode;
            s->Fcs = last.X87Cleared ? (ushort)0 : s->Cs.Selector;
        }
        if (f->X87Segment == TranslationFrame.ClearedSegment)
            s->Fds = 0;
        else if (f->X87Segment != TranslationFrame.NoSegment)
            s->Fds = (&s->Es)[f->X87Segment].Selector;
        f->X87Last = 0;
        f->X87Segment = TranslationFrame.NoSegment;
        f->X87 = (uint)X87Place.State;
    }
}
