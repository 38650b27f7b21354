using Iced.Intel;
using Trapline.Core;
using Trapline.Testing;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Machine.Tests;

/// <summary>The engine of a running machine is replaced between two instructions.</summary>
public class EngineSwitchTests
{
    /// <summary>A long checksum in ring 0 of 32-bit code; exit status 3 if it is right.</summary>
    private static void Fold(Assembler a)
    {
        Label again = a.CreateLabel();
        a.mov(ecx, 100_000_000);
        a.mov(edx, 1);
        a.Label(ref again);
        a.imul(edx, edx, 69069);
        a.add(edx, ecx);
        a.dec(ecx);
        a.jnz(again);
        a.cmp(edx, (int)Folded());
        a.sete(al);
        a.@out(0xF4, al);
        a.hlt();
    }

    private static uint Folded()
    {
        uint edx = 1;
        for (uint ecx = 100_000_000; ecx != 0; ecx--)
            edx = (edx * 69069) + ecx;
        return edx;
    }

    /// <summary>A guest whose vCPUs wake each other by hypercalls would wait for good where nobody answers them.</summary>
    [KvmTheory]
    [InlineData(2, true, true)]
    [InlineData(1, true, false)] // nobody to wake
    [InlineData(2, false, false)] // it does not use the interface
    public void AGuestThatNeedsItsHypercallsIsNotMovedToKvm(int cpus, bool uses, bool refused)
    {
        DebugLine line = new();
        MachineSpecification specification = SmallGuest.Specification(a =>
        {
            if (uses)
            {
                a.mov(ecx, 0x4b564d01);
                a.xor(edx, edx);
                a.mov(eax, 0x20_0001);
                a.wrmsr();
            }
            SmallGuest.Say(a, 'r');
            a.cli();
            Label again = a.CreateLabel();
            a.Label(ref again);
            a.jmp(again);
        }, line);
        specification = specification with { Cpu = specification.Cpu with { Engine = "interpreter", Count = cpus } };
        using GuestMachine machine = GuestMachine.Create(specification);
        machine.Start();
        Assert.True(SpinWait.SpinUntil(() => line.Count == 1, TimeSpan.FromSeconds(30)));
        string? obstacle = Refusal(() => machine.SwitchEngine("kvm"));
        Assert.Equal(refused, obstacle?.Contains("-kvm-pv-ipi,-kvm-pv-unhalt", StringComparison.Ordinal) == true);
        if (refused)
            Assert.Equal("interpreter", machine.EngineName);
        machine.SwitchEngine("interpreter"); // that always works
        using MachineImage image = machine.Capture();
        MachineSpecification elsewhere = specification with { Cpu = specification.Cpu with { Engine = "kvm" } };
        obstacle = Refusal(() => GuestMachine.Continue(image, elsewhere).Dispose());
        Assert.Equal(refused, obstacle?.Contains("hypercalls", StringComparison.Ordinal) == true);
        machine.Stop();

        static string? Refusal(Action work)
        {
            try
            {
                work();
                return null;
            }
            catch (BadInputException refusal)
            {
                return refusal.Message;
            }
        }
    }

    [Fact]
    public async Task AGuestComputesOnThroughAllEngines()
    {
        using GuestMachine machine = GuestMachine.Create(SmallGuest.Specification(Fold, new DebugLine()));
        machine.Start();
        int switches = 0;
        while (!machine.Completion.IsCompleted && switches < 300)
        {
            // KVM may be one that emulates: a few turns are enough there.
            foreach (string name in Engines.Names.Where(name => name != "auto" && (name != "kvm" || switches < 10)))
            {
                try
                {
                    machine.SwitchEngine(name);
                    Assert.Equal(name, machine.EngineName);
                    switches++;
                }
                catch (InvalidOperationException)
                {
                    break; // it has ended
                }
                catch (BadInputException)
                {
                    // This host cannot run it; the engine before goes on.
                }
            }
            await Task.Yield();
        }
        machine.SwitchEngineIfAlive("translator");
        MachineOutcome outcome = await machine.Completion;
        Assert.Equal((MachineEnd.DebugExit, 3), (outcome.End, outcome.DebugExitCode));
        Assert.True(switches > 10, $"{switches} switches");
    }

    [Fact]
    public void AnUnknownEngineIsRefusedAndNothingChanges()
    {
        using GuestMachine machine = GuestMachine.Create(SmallGuest.Specification(Fold, new DebugLine()));
        Assert.Throws<BadInputException>(() => machine.SwitchEngine("vax"));
        Assert.Equal("interpreter", machine.EngineName);
    }

    [Fact]
    public void CountersGoOn()
    {
        using GuestMachine machine = GuestMachine.Create(SmallGuest.Specification(Fold, new DebugLine()));
        machine.Start();
        while (machine.GetStatistics().Vcpus[0].Counters.Instructions < 1000)
            Thread.Yield();
        machine.SwitchEngine("interpreter");
        Assert.True(machine.GetStatistics().Vcpus[0].Counters.Instructions >= 1000);
    }

    /// <summary>Pausing, resuming and pausing again, quicker than a vCPU can wake: it stands each time when Pause returns.</summary>
    [Fact]
    public void PausesInQuickSuccessionAllHold()
    {
        using GuestMachine machine = GuestMachine.Create(SmallGuest.Specification(Fold, new DebugLine()));
        machine.Start();
        for (int i = 0; i < 2000; i++)
        {
            machine.Pause();
            ulong rip = machine.ExportVcpu(0).General[1];
            if (i % 50 == 0)
                Thread.Yield();
            Assert.Equal(rip, machine.ExportVcpu(0).General[1]);
            machine.Resume();
        }
    }

    /// <summary>The machine ends while it is paused and resumed in quick succession: nobody waits for a vCPU that is gone.</summary>
    [Fact]
    public async Task AMachineThatEndsBetweenPausesKeepsNobodyWaiting()
    {
        for (int i = 0; i < 200; i++)
        {
            using GuestMachine machine = GuestMachine.Create(SmallGuest.Specification(a => SmallGuest.Exit(a, 1), new DebugLine(), megabytes: 4));
            machine.Start();
            Task pausing = Task.Run(() =>
            {
                while (!machine.Completion.IsCompleted)
                {
                    machine.Pause();
                    machine.Resume();
                }
            });
            await machine.Completion.WaitAsync(TimeSpan.FromSeconds(30));
            await pausing.WaitAsync(TimeSpan.FromSeconds(30));
        }
    }

    /// <summary>Signals that arrive while engines are exchanged reach one of the two, and none is lost.</summary>
    [Fact]
    public async Task NoSignalIsLostToAnEngineThatIsGone()
    {
        // Each NMI is one step of the guest's count; it ends at 200.
        const uint idt = 0x30_0000, descriptor = 0x31_0000, handler = 0x33_0000, count = 0x32_0000;
        DebugLine output = new();
        using GuestMachine machine = GuestMachine.Create(SmallGuest.Specification(a =>
        {
            // inc dword [count]; say '.'; cmp dword [count], 200; jb over; end with 1; over: iretd. It says so itself: a HLT that the
            // main loop had not reached yet would sleep through the interrupt.
            uint[] code = [0x000005FF, 0x2EB00032, 0x3D81E9E6, 0x00320000, 0x000000C8, 0x01B00472, 0x90CFF4E6];
            for (uint i = 0; i < code.Length; i++)
                a.mov(__dword_ptr[handler + (i * 4)], (int)code[i]);
            a.mov(esp, 0x40_0000);
            a.mov(eax, cs);
            a.shl(eax, 16);
            a.or(eax, (int)(handler & 0xFFFF));
            a.mov(__dword_ptr[idt + (2 * 8)], eax);
            a.mov(__dword_ptr[idt + (2 * 8) + 4], (int)(handler & 0xFFFF_0000) | 0x8E00);
            a.mov(__word_ptr[descriptor], 0x7FF);
            a.mov(__dword_ptr[descriptor + 2], (int)idt);
            a.lidt(__[descriptor]);
            a.mov(__dword_ptr[count], 0);
            SmallGuest.Say(a, 'R');
            Label wait = a.CreateLabel();
            a.Label(ref wait);
            a.hlt();
            a.jmp(wait);
        }, output));
        machine.Start();
        await Said(1);
        Task switching = Task.Run(() =>
        {
            string[] names = ["interpreter", "translator"];
            for (int i = 0; !machine.Completion.IsCompleted && i < 100_000; i++)
                machine.SwitchEngineIfAlive(names[i & 1]);
        });
        for (int i = 1; i <= 200; i++)
        {
            machine.SendNmi();
            await Said(1 + i);
        }
        MachineOutcome outcome = await machine.Completion;
        Assert.Equal((MachineEnd.DebugExit, 3), (outcome.End, outcome.DebugExitCode));
        await switching;

        async Task Said(int letters)
        {
            while (output.Count < letters && !machine.Completion.IsCompleted)
                await Task.Delay(1);
        }
    }
}

internal static class EngineSwitchExtensions
{
    /// <summary>Switches, unless the machine has ended.</summary>
    public static void SwitchEngineIfAlive(this GuestMachine machine, string name)
    {
        try
        {
            machine.SwitchEngine(name);
        }
        catch (InvalidOperationException)
        {
            // It has ended meanwhile.
        }
    }
}
