using Trapline.Cpu.Mmu;
using Trapline.Cpu.Translator.Emit;
using Trapline.X86;

namespace Trapline.Cpu.Translator.Runtime;

/// <summary>The absolute addresses, as operands, of everything that emitted code touches.</summary>
public sealed unsafe class Addresses
{
    private readonly LowLayout _low;
    private readonly CpuState* _s;
    private readonly HostAddress _addends;

    public Addresses(LowLayout low)
    {
        _low = low;
        _s = low.State;
        TranslationFrame* f = low.Frame;
        HostRsp = At(&f->HostRsp);
        Entry = At(&f->Entry);
        ShadowRsp = At(&f->ShadowRsp);
        ShadowTop = At(&f->ShadowTop);
        WindowPage = At(&f->WindowPage);
        WindowDelta = At(&f->WindowDelta);
        Flags = At(&f->Flags);
        Spill = At(&f->Spill);
        Held = At(&f->Held);
        VectorsLoaded = At(&f->VectorsLoaded);
        CodeKey = At(&f->CodeKey);
        Space = At(&f->Space);
        Backing = At(&f->Backing);
        Marks = At(&f->Marks);
        ExitAddress = At(&f->ExitAddress);
        HostMxcsr = At(&f->HostMxcsr);
        StopAddress = At(&f->StopAddress);
        IndexBits = At(&f->IndexBits);
        PageBits = At(&f->PageBits);
        LastReturn = At(&f->LastReturn);
        X87 = At(&f->X87);
        X87Last = At(&f->X87Last);
        X87Segment = At(&f->X87Segment);
        X87Control = At(&f->X87Control);
        X87Image = At(f->X87Image);
        _addends = At(f->Addends);
        Attention = At(&_s->Attention);
        Calm = At(&_s->Calm);
        TimeRuns = At(&f->TimeRuns);
        TimeLead = At(&f->TimeLead);
        PauseBudget = At(&f->PauseBudget);
        RFlags = At(&_s->RFlags);
        HeldInterrupt = At(&_s->HeldInterrupt);
        GsBase = At(&_s->Gs.Base);
        KernelGsBase = At(&_s->KernelGsBase);
        Mxcsr = At(&_s->Mxcsr);
        TscOffset = At(&_s->TscOffset);
        TscAux = At(&_s->TscAux);
        Keys = At(&_s->Pkru);
        Instructions = At(&_s->Instructions);
        Fcw = At(&_s->Fcw);
        Fsw = At(&_s->Fsw);
        FpuTags = At(&_s->FpuTags);
        FpuTop = At(&_s->FpuTop);
        Fdp = At(&_s->Fdp);
    }

    /// <param name="slot">From 1.</param>
    public HostAddress Addend(int slot) => _addends with { Disp = _addends.Disp + (slot - 1) * 8 };

    public HostAddress HostRsp { get; }
    public HostAddress Entry { get; }
    public HostAddress ShadowRsp { get; }
    public HostAddress ShadowTop { get; }
    public HostAddress WindowPage { get; }
    public HostAddress WindowDelta { get; }
    public HostAddress Flags { get; }
    public HostAddress Spill { get; }
    public HostAddress Held { get; }
    public HostAddress VectorsLoaded { get; }
    public HostAddress CodeKey { get; }
    public HostAddress Space { get; }
    public HostAddress Backing { get; }
    public HostAddress Marks { get; }
    public HostAddress ExitAddress { get; }
    public HostAddress HostMxcsr { get; }
    public HostAddress StopAddress { get; }
    public HostAddress IndexBits { get; }
    public HostAddress PageBits { get; }
    public HostAddress LastReturn { get; }
    public HostAddress X87 { get; }
    public HostAddress X87Last { get; }
    public HostAddress X87Segment { get; }
    public HostAddress X87Control { get; }
    public HostAddress X87Image { get; }
    public HostAddress Attention { get; }
    public HostAddress Calm { get; }
    public HostAddress TimeRuns { get; }
    public HostAddress TimeLead { get; }
    public HostAddress TscOffset { get; }
    public HostAddress TscAux { get; }
    public HostAddress PauseBudget { get; }
    public HostAddress RFlags { get; }
    public HostAddress HeldInterrupt { get; }
    public HostAddress GsBase { get; }
    public HostAddress KernelGsBase { get; }
    public HostAddress Mxcsr { get; }
    public HostAddress Keys { get; }
    public HostAddress Instructions { get; }
    public HostAddress Fcw { get; }
    public HostAddress Fsw { get; }
    public HostAddress FpuTags { get; }
    public HostAddress FpuTop { get; }
    public HostAddress Fdp { get; }

    /// <summary>CR0, CR2, CR3 or CR4.</summary>
    public HostAddress Control(int number) => At(number switch { 0 => &_s->Cr0, 2 => &_s->Cr2, 3 => &_s->Cr3, _ => &_s->Cr4 });

    public HostAddress Gpr(int register) => At(&_s->Gpr[register]);
    public HostAddress Ymm(int register) => At(&_s->Ymm[register * 4]);
    public HostAddress Fpr(int physical) => At(&_s->Fpr[physical * 2]);
    public HostAddress Selector(int segment) => At(&(&_s->Es)[segment].Selector);
    public HostAddress SegmentBase(int segment) => At(&_s->AddressBase[segment]);

    /// <summary>The tag array of a context's reads or writes, indexed by page number; addends follow <see cref="SoftTlb.Entries"/> words later.</summary>
    public int TlbTags(int context, bool write) => (int)(nint)(_low.Tlb + (context * 2 + (write ? 1 : 0)) * 2 * SoftTlb.Entries);

    /// <summary>The read or write table of the <see cref="SpaceTlb"/>.</summary>
    public int SpaceTable(bool write) => (int)(nint)_low.Spaces + (write ? SpaceTlb.Bytes / 2 : 0);

    public int JumpKeys => (int)(nint)_low.JumpKeys;
    public int JumpTargets => (int)(nint)_low.JumpTargets;

    /// <summary>Not zero if a link number is the current one.</summary>
    public HostAddress ScopeIsCurrent(uint number) => At(_low.ScopeIsCurrent + number);

    /// <summary><see cref="LowLayout.Equal"/>, indexed by RCX.</summary>
    public HostAddress Equal => new(HostRegister.Rcx, HostRegister.None, 0, (int)(nint)_low.Equal);

    public int ShadowLimit(int context) => (int)_low.ShadowLimit(context);

    private static HostAddress At(void* address) => HostAddress.Absolute(address);
}
