using System.Text.RegularExpressions;
using Trapline.Cpu.Translator;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Cpu.Tests.Translator;

/// <summary>Translations can be watched, shown and timed.</summary>
public sealed class ObservationTests
{
    [TranslatorFact]
    public void TranslationsComeAndGoBeforeTheObserversEyes()
    {
        using TranslatedGuest guest = new();
        Observer observer = new();
        guest.Cpu.Observe(observer, walks: true, translations: true);
        guest.Load(Program);
        guest.Warm();
        TranslationReport first = observer.Translations[0];
        Assert.Equal((TranslatedGuest.Code, "user", "hoisted", 4, 13), (first.Rip, first.Mode, first.Flavour, first.Instructions, first.GuestBytes));
        Assert.InRange(first.HostBytes, 13, 200);
        Assert.NotEqual(0, first.HostAddress);
        Assert.NotEmpty(observer.Walks);
        // Its first byte is written to: the translation is void when the vCPU next runs, and made again when warm again.
        guest.Load([0x48]);
        Assert.Equal(StopReason.Kicked, guest.Run());
        Assert.Contains(TranslatedGuest.Code, observer.Dropped);
        guest.Cpu.Translator!.Flush();
        Assert.Single(observer.Flushes);
    }

    [TranslatorFact]
    public void AListingShowsEachInstructionBesideItsCode()
    {
        using TranslatedGuest guest = new();
        Observer observer = new();
        guest.Cpu.Observe(observer, walks: false, translations: true);
        guest.Load(Program);
        guest.Warm();
        string listing = observer.Listings[0];
        Assert.StartsWith("0x8000, user, hoisted: 4 instructions in 13 bytes", listing);
        Assert.Matches(@"8000  mov rax, \[rdi\] +\| \+000  ", listing);
        Assert.Matches(@"8003  add rax, 1 +\| \+[0-9a-f]+  add rax, 1\n", listing);
        Assert.Matches(@"8009  mov \[rdi\], rax ", listing);
        Assert.Contains("[rcx*8+write_tags]", listing);
        Assert.Contains("; the interpreter does 0x800c", listing);
        Assert.Contains("(out of line)", listing);
        Assert.Single(Regex.Matches(listing, "a read of 8 bytes missed"));
    }

    [TranslatorFact]
    public void TimesAreTakenOnlyOnRequest()
    {
        using TranslatedGuest silent = new();
        silent.Load(Program);
        silent.Warm();
        Assert.Null(silent.Cpu.Times);
        using TranslatedGuest timed = new(translate: false);
        Assert.True(timed.Cpu.EnableTranslator(new TranslatorOptions(Time: true, Count: true)));
        timed.Load(Program);
        timed.Warm();
        EngineTimes times = timed.Cpu.Times!.Value;
        Assert.True(times.Translated > TimeSpan.Zero && times.Translation > TimeSpan.Zero, $"{times}");
        // Two for each run that was interpreted or translated; the last instruction is the interpreter's either way.
        Assert.Equal(2 * TranslatorOptions.WarmAfter * 4, timed.Cpu.Counters.Instructions);
    }

    private static void Program(Iced.Intel.Assembler a)
    {
        a.mov(rax, __qword_ptr[rdi]);
        a.add(rax, 1);
        a.mov(__qword_ptr[rdi], rax);
        a.@out(dx, al);
    }

    private sealed class Observer : IEngineTrace
    {
        public List<TranslationReport> Translations { get; } = [];
        public List<string> Listings { get; } = [];
        public List<ulong> Dropped { get; } = [];
        public List<string> Flushes { get; } = [];
        public List<ulong> Walks { get; } = [];

        public void Exception(int vcpu, byte vector, uint errorCode, ulong rip, ulong address)
        {
        }

        public void PageWalk(int vcpu, ulong gva, ReadOnlySpan<WalkStep> steps, ulong? gpa, nint? hva) => Walks.Add(gva);

        public void Translated(int vcpu, TranslationReport translation)
        {
            Translations.Add(translation);
            Listings.Add(translation.Listing());
        }

        public void TranslationMoved(int vcpu, ulong rip, string mode, string flavour, ulong from, nint hostAddress, int hostBytes)
        {
        }

        public void TranslationDropped(int vcpu, ulong rip, string mode, string flavour) => Dropped.Add(rip);

        public void TranslationsFlushed(int vcpu, int count, string reason) => Flushes.Add(reason);
    }
}
