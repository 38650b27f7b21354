using Iced.Intel;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Cpu.Tests.Translator;

/// <summary>32-bit code by translation does what it does by interpretation, above all where it differs from 64-bit code.</summary>
public sealed unsafe class Code32Tests
{
    private const uint Data = (uint)TranslatedGuest.Data;

    /// <summary>A page near the end of the 4 GiB, the last one, and the one that 64-bit code finds behind it.</summary>
    private const uint High = 0xFFE0_0000, Top = 0xFFFF_F000;
    private const ulong Beyond = 1ul << 32, TopFrame = 0x100000, BeyondFrame = 0x101000, HighFrame = 0x102000;

    /// <summary>Frames that a program may write to.</summary>
    private static readonly ulong[] Frames = [0, Data, TopFrame, BeyondFrame, HighFrame];

    [TranslatorFact]
    public void ShortFormsOf32BitCode() => Compare(a =>
    {
        a.inc(eax);
        a.dec(ecx);
        a.db([0x66, 0x43]); // INC BX
        a.db([0x66, 0x4E]); // DEC SI
        a.db([0x82, 0xC2, 0x7F]); // ADD DL, 7Fh by its other name
        a.db([0xA3, .. BitConverter.GetBytes(Data)]); // MOV [Data], EAX
        a.db([0xA0, .. BitConverter.GetBytes(Data + 1)]); // MOV AL, [Data + 1]
        a.db([0x66, 0xA3, .. BitConverter.GetBytes(Data + 8)]); // MOV [Data + 8], AX
        a.pushfd();
        a.pop(ebp);
    });

    /// <summary>The lengths are EAX and EDX, whatever VEX.W says: EDX is -1 here, and one byte, where RDX would be a large number.</summary>
    [TranslatorFact]
    public void ComparedStringsHave32BitLengths() => Compare(a =>
    {
        a.mov(eax, -3);
        a.mov(edx, -1);
        a.movd(xmm4, eax);
        a.movd(xmm6, edx);
        a.db([0xC4, 0xE3, 0xF9, 0x61, 0xE6, 0xA8]); // VPCMPESTRI xmm4, xmm6, A8h with W
        a.pushfd();
        a.pop(ebp);
    });

    [TranslatorFact]
    public void RunsOfStringInstructions() => Compare(a =>
    {
        a.mov(eax, 0x01020304);
        a.mov(edi, Data);
        a.mov(ecx, 24);
        a.rep.stosd();
        a.mov(esi, Data + 1);
        a.mov(ecx, 90);
        a.rep.movsb(); // over its own source
        a.xor(ecx, ecx);
        a.mov(edi, 0x7000_0000); // nothing is there, and nothing is asked of it
        a.rep.stosb();
        a.mov(ecx, 3);
        a.mov(edi, High + 0x1000 - 12);
        a.rep.stosd(); // to the page's last byte
    });

    [TranslatorFact]
    public void CallsAndStackFrames() => Compare(a =>
    {
        Label function = a.CreateLabel(), here = a.CreateLabel(), done = a.CreateLabel(), again = a.CreateLabel();
        a.mov(ecx, 3);
        a.Label(ref again);
        a.push(ecx);
        a.push(0x12345678);
        a.call(function);
        a.add(esp, 4);
        a.pop(ecx);
        a.loop(again);
        a.call(here); // how code finds its own address
        a.Label(ref here);
        a.pop(ebx);
        a.lea(edi, __[ebx + 5]);
        a.jecxz(done);
        a.Label(ref function);
        a.push(ebp);
        a.mov(ebp, esp);
        a.sub(esp, 16);
        a.mov(__[ebp - 4], eax);
        a.mov(eax, __[ebp + 8]);
        a.add(eax, __[ebp - 4]);
        a.mov(__[esp], eax);
        a.push(__dword_ptr[ebp - 16]);
        a.pop(eax);
        a.leave();
        a.ret();
        a.Label(ref done);
    });

    /// <summary>Whatever 64-bit code finds behind 4 GiB, a sum in 32-bit code is back at 0.</summary>
    [TranslatorTheory]
    [InlineData(0xFFFF_FFFC, 0)]
    [InlineData(0xFFFF_FFF8, 0xFFFF_FFFF)]
    [InlineData(Data, 3)]
    [InlineData(Top + 8, 0xFFFF_FFFC)]
    public void AddressesWrapAround(uint based, uint index) => Compare(
        a =>
        {
            a.mov(eax, __[ebx]);
            a.add(eax, __[ebx + 0x10]);
            a.mov(edx, __[ebx - 8]);
            a.add(edx, __[ebx + ecx * 4 + 0x14]);
            a.mov(__byte_ptr[ebx + 0x20], dl);
            a.mov(ebp, __[ecx * 4 + High + 0x40]);
            a.movzx(edi, __byte_ptr[ecx + ebx]);
        },
        guest =>
        {
            guest.State->Gpr[3] = based;
            guest.State->Gpr[1] = index;
        });

    /// <summary>Pushes from 0 go to the top; a frame around the wrap, and one beside it.</summary>
    [TranslatorTheory]
    [InlineData(0)]
    [InlineData(4)]
    [InlineData(8)]
    [InlineData(0xFFFF_FFFC)]
    [InlineData(0xFFFF_FFF8)]
    [InlineData(0x10)]
    [InlineData(Data)]
    public void TheStackPointerWrapsAround(uint stack) => Compare(
        a =>
        {
            a.mov(esp, ebx);
            a.push(eax);
            a.push(esp);
            a.push(__dword_ptr[esp + 4]);
            a.sub(esp, 0x20);
            a.mov(edx, __[esp + 0x24]);
            a.mov(__[esp + 0x28], esi);
            a.add(esp, 0x24);
            a.pop(edi);
            a.pop(ecx);
            a.push(ebp);
            a.mov(ebp, esp);
            a.leave();
        },
        guest => guest.State->Gpr[3] = stack);

    /// <summary>A segment may have any base; the offset within it must not pass its limit, which the sum may.</summary>
    [TranslatorTheory]
    [InlineData(0, uint.MaxValue, Data, false)]
    [InlineData(0xFFFF_FF00, uint.MaxValue, Data + 0x100, false)]
    [InlineData(Data, uint.MaxValue, 0, false)]
    [InlineData(Data + 8, uint.MaxValue, 0xFFFF_FFFC, false)]
    [InlineData(Data + 8, uint.MaxValue, 0xFFFF_FFFE, true)]
    [InlineData(Data, 0xFFF, 8, false)]
    [InlineData(Data, 0xFFF, 0xFFE, true)]
    public void SegmentsWithBases(uint segmentBase, uint limit, uint offset, bool faults) => Compare(
        a =>
        {
            a.mov(eax, __.fs[ebx]);
            a.add(__dword_ptr.fs[ebx], 1);
            a.mov(ecx, __.fs[ebx + 0]);
        },
        guest =>
        {
            guest.State->Fs.Base = segmentBase;
            guest.State->Fs.Limit = limit;
            guest.State->Gpr[3] = offset;
            guest.Cpu.ModeChanged();
        },
        faults);

    /// <summary>RF is set while a fault's handler returns; the image that PUSHF makes never shows it (SDM Vol. 2, PUSHF).</summary>
    [TranslatorFact]
    public void PushedFlagsAreWithoutRf() => Compare(
        a =>
        {
            a.pushfd();
            a.pop(eax);
        },
        guest => guest.State->RFlags |= Rflags.Rf);

    /// <summary>B, and the top bits of a register in an immediate, count in 64-bit code alone.</summary>
    [TranslatorFact]
    public void IgnoredBitsOfVex() => Compare(
        a =>
        {
            a.db([0xC4, 0xC1, 0x78, 0x58, 0xC1]); // VADDPS XMM0, XMM0, XMM1 with B
            a.db([0xC4, 0xE3, 0x69, 0x4A, 0xD9, 0xA0]); // VBLENDVPS XMM3, XMM2, XMM1, XMM2 (or 10)
            a.db([0xC4, 0xE2, 0xE0, 0xF2, 0xC1]); // ANDN EAX, EBX, ECX with W
        },
        guest =>
        {
            for (int i = 0; i < 64; i++)
                guest.State->Ymm[i] = 0x3F80_0001_3F00_0000ul * (ulong)(i + 1);
        });

    [TranslatorFact]
    public void TheSameBytesInBothModes()
    {
        using TranslatedGuest guest = new();
        guest.Load([0x48, 0x01, 0xC8, .. TranslatedGuest.Assemble(TranslatedGuest.End)]); // ADD RAX, RCX; or DEC EAX, ADD EAX, ECX
        for (int i = 0; i < 120; i++)
        {
            bool code32 = i / 2 % 2 == 1;
            guest.SetCode32(code32);
            guest.State->Gpr[0] = 5;
            guest.State->Gpr[1] = 7;
            Assert.Equal(StopReason.Kicked, guest.Run());
            Assert.Equal(code32 ? 11ul : 12ul, guest.State->Gpr[0]);
        }
        Assert.Equal(2, guest.Cpu.Translator!.Counters.Translated);
    }

    /// <summary>32-bit code has eight registers; the others are still there afterwards.</summary>
    [TranslatorFact]
    public void OtherRegistersSurvive()
    {
        using TranslatedGuest guest = new();
        guest.SetCode32();
        guest.Load(TranslatedGuest.Assemble(a => { a.inc(eax); a.push(eax); a.pop(ebp); TranslatedGuest.End(a); }, bits: 32));
        for (ulong i = 8; i < 16; i++)
            guest.State->Gpr[i] = i << 60 | i;
        guest.Warm();
        for (ulong i = 8; i < 16; i++)
            Assert.Equal(i << 60 | i, guest.State->Gpr[i]);
    }

    [TranslatorFact]
    public void SegmentsThatAreNotFlatAreTheInterpreters()
    {
        using TranslatedGuest guest = new();
        guest.SetCode32();
        guest.Load(TranslatedGuest.Assemble(a => { a.mov(eax, __[ebx]); TranslatedGuest.End(a); }, bits: 32));
        *(uint*)guest.At(Data) = 1;
        *(uint*)guest.At(Data + 0x100) = 2;
        guest.State->Gpr[3] = Data;
        guest.Warm();
        Assert.Equal(1, guest.Cpu.Translator!.Counters.Translated);
        guest.State->Ds.Base = 0x100;
        guest.Cpu.ModeChanged();
        guest.Warm();
        Assert.Equal(2ul, guest.State->Gpr[0]);
        Assert.Equal(1, guest.Cpu.Translator!.Counters.Translated);
        guest.State->Ds.Base = 0;
        guest.Cpu.ModeChanged();
        guest.Warm();
        Assert.Equal(1ul, guest.State->Gpr[0]);
    }

    /// <summary>Runs a program by interpreter and, until it is translated, by translator, from the same state each time: all that it leaves must agree.</summary>
    private static void Compare(Action<Assembler> program, Action<TranslatedGuest>? setUp = null, bool faults = false)
    {
        byte[] code = TranslatedGuest.Assemble(a => { program(a); TranslatedGuest.End(a); }, bits: 32);
        using TranslatedGuest interpreted = new(translate: false), translated = new();
        Prepare(interpreted, code);
        StopReason reason = Start(interpreted, setUp);
        Assert.Equal(faults ? StopReason.TripleFault : StopReason.Kicked, reason);
        Prepare(translated, code);
        for (int i = 0; i < 60; i++)
        {
            Assert.Equal(reason, Start(translated, setUp));
            if (reason == StopReason.TripleFault)
                break; // nothing runs after that
        }
        if (reason == StopReason.Kicked)
            Assert.True(translated.Cpu.Translator!.Counters.Translated > 0);
        for (int i = 0; i < 16; i++)
            Assert.Equal(interpreted.State->Gpr[i], translated.State->Gpr[i]);
        for (int i = 0; i < 64; i++)
            Assert.Equal(interpreted.State->Ymm[i], translated.State->Ymm[i]);
        Assert.Equal(interpreted.State->Rip, translated.State->Rip);
        Assert.Equal(Flags.Get(interpreted.State), Flags.Get(translated.State));
        foreach (ulong page in Frames)
            Assert.True(new ReadOnlySpan<byte>(interpreted.At(page), 4096).SequenceEqual(new ReadOnlySpan<byte>(translated.At(page), 4096)), $"page {page:x}");
    }

    private static void Prepare(TranslatedGuest guest, byte[] code)
    {
        guest.Map(High, HighFrame);
        ((ulong*)guest.At(0x40000 + 3 * 0x2000))[511] = (0x40000 + 3 * 0x2000 + 0x1000) | 7; // the last two MiB through the same table
        ((ulong*)guest.At(0x40000 + 3 * 0x2000 + 0x1000))[511] = TopFrame | 7;
        guest.Map(Beyond, BeyondFrame);
        guest.Load(code);
        guest.SetCode32();
    }

    private static StopReason Start(TranslatedGuest guest, Action<TranslatedGuest>? setUp)
    {
        foreach (ulong page in Frames)
            for (int i = 0; i < 512; i++)
                ((ulong*)guest.At(page))[i] = (page + 1) * 0x9E37_79B9_7F4A_7C15 + (ulong)i;
        for (ulong i = 0; i < 8; i++)
            guest.State->Gpr[i] = 0x1111_1111 * i;
        for (int i = 0; i < 64; i++)
            guest.State->Ymm[i] = 0;
        Flags.Set(guest.State, Rflags.Fixed | 3ul << 12);
        guest.Cpu.Mmu.FlushAll();
        // 64-bit code has been here, and knows the page beyond.
        guest.SetCode32(false);
        guest.Cpu.Mmu.FillSoft(Beyond, write: true, guest.At(BeyondFrame));
        guest.Cpu.Mmu.FillSoft(Beyond, write: false, guest.At(BeyondFrame));
        guest.SetCode32();
        setUp?.Invoke(guest);
        return guest.Run();
    }
}
