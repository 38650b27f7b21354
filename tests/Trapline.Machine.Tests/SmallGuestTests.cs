using System.Text.RegularExpressions;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Machine.Tests;

/// <summary>Real guest code on the interpreter: what leaves the engine costs no garbage, can be watched, and stays in its own machine.</summary>
public sealed class SmallGuestTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(1);

    /// <summary>KVM's interface: interrupts by bitmap of APIC ids, a number for "no such call".</summary>
    [Fact]
    public async Task HypercallsAnswerAsUnderKvm()
    {
        DebugLine line = new();
        using GuestMachine machine = GuestMachine.Create(SmallGuest.Specification(a =>
        {
            a.mov(eax, 0xFEE000F0); // the local APIC, enabled by software
            a.mov(__dword_ptr[eax], 0x1FF);
            Ask(a, number: 10, lower: 1, lowest: 0, result: 1, 'a'); // to APIC 0, which takes it
            Ask(a, number: 10, lower: 1, lowest: 5, result: 0, 'b'); // to APIC 5, which is not there
            Ask(a, number: 10, lower: -1, lowest: -1, result: 0, 'c'); // ids beyond 32 bits
            Ask(a, number: 999, lower: 0, lowest: 0, result: -1000, 'd');
            SmallGuest.Exit(a, 1);
        }, line));
        MachineOutcome outcome = await machine.RunAsync().WaitAsync(Limit);
        Assert.Equal(MachineEnd.DebugExit, outcome.End);
        Assert.Equal("abcd", line.Text);

        static void Ask(Iced.Intel.Assembler a, int number, int lower, int lowest, int result, char letter)
        {
            Iced.Intel.Label wrong = a.CreateLabel();
            a.mov(eax, number);
            a.mov(ebx, lower);
            a.xor(ecx, ecx);
            a.mov(edx, lowest);
            a.mov(esi, 0x41); // fixed, vector 41h
            a.vmcall();
            a.cmp(eax, result);
            a.jne(wrong);
            SmallGuest.Say(a, letter);
            a.Label(ref wrong);
            a.nop();
        }
    }

    /// <summary>KVM_HC_KICK_CPU of the caller itself: its next HLT, with interrupts off, does not wait. Without it, the machine would end as halted for good.</summary>
    [Fact]
    public async Task AKickedVcpuLeavesItsHalt()
    {
        DebugLine line = new();
        using GuestMachine machine = GuestMachine.Create(SmallGuest.Specification(a =>
        {
            for (int round = 0; round < 3; round++)
            {
                a.mov(eax, 5);
                a.xor(ebx, ebx);
                a.xor(ecx, ecx);
                a.vmmcall();
                a.hlt();
                SmallGuest.Say(a, 'k');
            }
            SmallGuest.Exit(a, 1);
        }, line));
        MachineOutcome outcome = await machine.RunAsync().WaitAsync(Limit);
        Assert.Equal((MachineEnd.DebugExit, "kkk"), (outcome.End, line.Text));
    }

    [Fact]
    public async Task ExitsAndTlbFillsAllocateNothing()
    {
        const int rounds = 20_000;
        DebugLine line = new();
        using GuestMachine machine = GuestMachine.Create(SmallGuest.Specification(a =>
        {
            SmallGuest.EnablePaging(a);
            foreach (char letter in "wse") // warm up, start, end
            {
                SmallGuest.Say(a, letter);
                if (letter == 'e')
                    break;
                Iced.Intel.Label next = a.CreateLabel();
                a.mov(ecx, rounds);
                a.mov(esi, 0x40_0000);
                a.Label(ref next);
                a.@in(al, 0x80);
                a.@out(0x80, al);
                a.mov(dx, 0x608); // the power management timer
                a.@in(eax, dx);
                a.mov(eax, __dword_ptr[0xFED000F0]); // the HPET's counter
                a.mov(__dword_ptr[0xFEE000B0], eax); // the local APIC's end of interrupt
                a.mov(__byte_ptr[esi], cl); // a page per round, more of them than the first-level TLB holds
                a.add(esi, 0x1000);
                a.and(esi, 0x17F_FFFF);
                a.or(esi, 0x40_0000);
                a.mov(eax, cr3); // and all translations anew now and then
                a.test(ecx, 0x3F);
                Iced.Intel.Label keep = a.CreateLabel();
                a.jnz(keep);
                a.mov(cr3, eax);
                a.Label(ref keep);
                a.mov(edx, ecx);
                a.mov(ecx, 0x10);
                a.rdmsr();
                a.mov(ecx, 0x8B);
                a.rdmsr();
                a.dec(__dword_ptr[0x10_4000]);
                a.mov(ecx, __dword_ptr[0x10_4000]);
                a.cmp(ecx, -rounds);
                a.jnz(next);
                a.mov(__dword_ptr[0x10_4000], 0);
            }
            SmallGuest.Exit(a, 1);
        }, line));
        MachineOutcome outcome = await machine.RunAsync().WaitAsync(Limit);
        Assert.Equal((MachineEnd.DebugExit, 3), (outcome.End, outcome.DebugExitCode));
        Assert.Equal("wse", line.Text);
        EngineCounters counters = machine.GetStatistics().Vcpus[0].Counters;
        Assert.True(counters.PageWalks + counters.TlbHitsSecondLevel > rounds, $"{counters}");
        Assert.True(machine.GetStatistics().Exits.Sum(e => e.Count) > rounds * 10);
        // A collection meanwhile takes the thread's allocation context, and what was left of its 8 KiB counts: less than half a byte a round.
        Assert.InRange(line.AllocatedAt('e') - line.AllocatedAt('s'), 0, 8191);
    }

    [Fact]
    public async Task WalksAndExceptionsCanBeWatched()
    {
        StringWriter trace = new();
        MachineSpecification specification = SmallGuest.Specification(a =>
        {
            SmallGuest.EnablePaging(a);
            a.mov(eax, __dword_ptr[0x40_0123]);
            a.mov(eax, __dword_ptr[0xFED00000]);
            a.mov(__dword_ptr[0x20_0000 + (4 * 7)], 0); // what lies at 28 MiB is not there any more
            a.mov(eax, __dword_ptr[0x1C0_0004]);
        }, new DebugLine()) with
        {
            Diagnostics = new DiagnosticsSpecification { Trace = TraceKinds.Walks | TraceKinds.Exceptions, TraceWriter = trace },
        };
        using GuestMachine machine = GuestMachine.Create(specification);
        Assert.Equal(MachineEnd.TripleFault, (await machine.RunAsync().WaitAsync(Limit)).End); // there is no IDT
        string[] lines = trace.ToString().Split('\n');
        Assert.Contains(lines, l => Regex.IsMatch(l, @"cpu0 walk GVA 0x400123 \| PD at 0x200004 = 0x4000a3 \[P W A PS\] -> GPA 0x400123 -> HVA 0x[0-9a-f]+123$"));
        Assert.Contains(lines, l => Regex.IsMatch(l, @"walk GVA 0xfed00000 \| PD at 0x200fec = 0xfec000a3 \[P W A PS\] -> GPA 0xfed00000 -> no RAM$"));
        Assert.Contains(lines, l => l.EndsWith("walk GVA 0x1c00004 | PD at 0x20001c = 0x0 [] -> page fault", StringComparison.Ordinal));
        Assert.Contains(lines, l => Regex.IsMatch(l, @"cpu0 #PF \(vector 14\) error 0x0 at 0x10[0-9a-f]{4} address 0x1c00004$"));
    }

    [Fact]
    public async Task AMachineLivesOnWhenItsNeighbourIsDisposed()
    {
        DebugLine first = new(), second = new();
        static void Chatter(Iced.Intel.Assembler a)
        {
            Iced.Intel.Label next = a.CreateLabel();
            SmallGuest.EnablePaging(a);
            a.mov(al, (sbyte)'a');
            a.Label(ref next);
            a.@out(0xE9, al);
            a.inc(al);
            a.cmp(al, 'z' + 1);
            a.jnz(next);
            a.mov(al, (sbyte)'a');
            a.mov(ecx, __dword_ptr[0x30_0000]);
            a.inc(ecx);
            a.mov(__dword_ptr[0x30_0000], ecx);
            a.cmp(ecx, 2000);
            a.jnz(next);
            SmallGuest.Exit(a, 5);
        }

        GuestMachine neighbour = GuestMachine.Create(SmallGuest.Specification(Chatter, first));
        using GuestMachine machine = GuestMachine.Create(SmallGuest.Specification(Chatter, second));
        neighbour.Start();
        Task<MachineOutcome> run = machine.RunAsync();
        while (first.Count < 100 || second.Count < 100)
            await Task.Delay(1);
        neighbour.Dispose();
        Assert.True(neighbour.Completion.IsCompleted);
        MachineOutcome outcome = await run.WaitAsync(Limit);
        Assert.Equal((MachineEnd.DebugExit, 11), (outcome.End, outcome.DebugExitCode));
        string alphabet = "abcdefghijklmnopqrstuvwxyz";
        Assert.Equal(alphabet.Length * 2000, second.Count);
        Assert.Equal(string.Concat(Enumerable.Repeat(alphabet, 2000)), second.Text);
    }

    [Theory]
    [InlineData(false, MachineEnd.Halted)]
    [InlineData(true, MachineEnd.TimedOut)]
    public async Task ASleepThatNothingCanEndEndsTheMachine(bool interruptsOn, MachineEnd end)
    {
        MachineSpecification specification = SmallGuest.Specification(a =>
        {
            if (interruptsOn)
            {
                a.mov(al, -1);
                a.@out(0x21, al); // nothing comes from the 8259s, though something could
                a.sti();
            }
            a.hlt();
        }, new DebugLine());
        specification = specification with { End = specification.End with { WhenHaltedForGood = true, Timeout = TimeSpan.FromSeconds(4) } };
        using GuestMachine machine = GuestMachine.Create(specification);
        Assert.Equal(end, (await machine.RunAsync().WaitAsync(Limit)).End);
    }
}
