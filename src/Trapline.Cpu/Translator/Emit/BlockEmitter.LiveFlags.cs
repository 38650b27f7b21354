using Iced.Intel;
using Trapline.Cpu.Mmu;
using Trapline.Cpu.Translator.CodeCache;
using Trapline.Cpu.Translator.Frontend;

namespace Trapline.Cpu.Translator.Emit;

/// <summary>Probes that touch no flags, for between the additions of long numbers, where a carry lives.</summary>
/// <remarks>
/// Saving flags would make the guest's chain of carries wait for the probe. Elsewhere nobody waits for them, and saving them spares a taken branch
/// (docs/adr/0015-checks-not-taken.md). Here PEXT takes the soft TLB's index from the address, and the page from the
/// difference to the tag, which JRCXZ compares with zero. An access hits if the page of its last byte, from the tag's page on, is 0: an access that
/// begins right below that page would hit, too, but selects another entry. r12 serves as third scratch register: what belongs there is in memory.
/// </remarks>
public sealed unsafe partial class BlockEmitter
{
    /// <summary>Flags live and nothing gives them again; and the next instruction that reads any, from the one that is being emitted on, adds or subtracts a carry.</summary>
    private bool CarryIsAwaited(in GuestInstruction i)
    {
        if (i.FlagsDeadBefore || _flagSource != GuestInstruction.NoSource)
            return false;
        foreach (ref readonly GuestInstruction next in _block.All[(_number - 1)..])
        {
            if (next.Facts.FlagsRead != 0)
                return next.Iced.Mnemonic is Mnemonic.Adc or Mnemonic.Sbb or Mnemonic.Adcx or Mnemonic.Adox;
            if (next.Facts.FlagsKilled == CodeFacts.Arithmetic)
                return false;
        }
        return false;
    }

    /// <summary>As <see cref="ProbeScratch"/>, which see, for the operand, or the group, of an instruction whose address is in r14.</summary>
    private bool ProbeByExtracting(in GuestInstruction i, int size, bool write, nint resume, bool keep)
    {
        int tags = addresses.TlbTags(_context, write);
        HostAddress tag = new(HostRegister.None, HostRegister.Rcx, 3, tags);
        _asm.ExtractBits(HostRegister.Rcx, HostRegister.Scratch, addresses.IndexBits, wide: false);
        _asm.Load(HostRegister.Window, tag);
        _asm.Not(HostRegister.Window); // minus the tag, minus one
        _asm.Lea(HostRegister.Scratch, new HostAddress(HostRegister.Scratch, HostRegister.Window, 0, size));
        _asm.Load(HostRegister.Window, tag with { Disp = tags + SoftTlb.Entries * 8 });
        _asm.ExtractBits(HostRegister.Rcx, HostRegister.Scratch, addresses.PageBits, wide: true);
        nint hit = _asm.JumpIfRcxZero();
        AddCold(Miss(i.Rip, size, write, resume, _asm.Jump(), i.GroupBegins) with { Saved = true, FlagsInPlace = true, Undone = _number });
        _asm.PatchShortHere(hit);
        if (keep)
            ProbedAddress(i);
        _asm.Move(HostRegister.Rcx, HostRegister.Window);
        _asm.Load(HostRegister.Window, addresses.WindowDelta);
        return keep;
    }

    /// <summary>The address that the instruction probes, into r14. Flags stay; RCX may not.</summary>
    private void ProbedAddress(in GuestInstruction i)
    {
        if (i.GroupBegins)
            _asm.Lea(HostRegister.Scratch, HostAddress.At(Home(i.Iced.MemoryBase), i.GroupLow));
        else
            EffectiveAddress(i.Iced, i.Iced.SegmentPrefix is Register.FS or Register.GS);
    }

    /// <summary>Where such a probe missed: r12 as it was, and the address in r14.</summary>
    private void UndoProbe(in GuestInstruction i)
    {
        _asm.Load(HostRegister.Window, addresses.WindowDelta);
        ProbedAddress(i);
    }

    /// <summary>What <see cref="ProbeConstant"/> checks, by <paramref name="tag"/>; the page is in r14.</summary>
    private void CheckConstantKeepingFlags(in GuestInstruction i, int size, bool write, nint resume, in HostAddress tag)
    {
        _asm.Load(HostRegister.Rcx, tag);
        if (i.Iced.MemoryBase == Register.RIP)
            NoteRelocation(RelocationKind.TlbEntry);
        _asm.Not(HostRegister.Rcx);
        _asm.Lea(HostRegister.Rcx, new HostAddress(HostRegister.Rcx, HostRegister.Scratch, 0, 1));
        nint hit = _asm.JumpIfRcxZero();
        AddCold(Miss(i.Rip, size, write, resume, _asm.Jump(), group: false) with { Saved = true, FlagsInPlace = true });
        _asm.PatchShortHere(hit);
    }
}
