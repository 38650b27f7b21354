using Iced.Intel;
using Trapline.Testing;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Machine.Tests;

/// <summary>Whole machines on KVM: the board neither knows nor cares.</summary>
public sealed class KvmMachineTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(1);

    [KvmFact]
    public async Task AGuestSpeaksAndEnds()
    {
        DebugLine line = new();
        using GuestMachine machine = Machine(a =>
        {
            foreach (char letter in "kvm")
                SmallGuest.Say(a, letter);
            SmallGuest.Exit(a, 4);
        }, line);
        MachineOutcome outcome = await machine.RunAsync().WaitAsync(Limit);
        Assert.Equal((MachineEnd.DebugExit, 9, "kvm"), (outcome.End, outcome.DebugExitCode, line.Text));
        Assert.Null(machine.EngineNote);
        VcpuStatistics vcpu = machine.GetStatistics().Vcpus[0];
        Assert.False(vcpu.SeesEverything);
        Assert.Equal(4, vcpu.Counters.Instructions); // those that left the guest
    }

    [KvmFact]
    public async Task ATripleFaultEndsTheMachine()
    {
        using GuestMachine machine = Machine(a =>
        {
            a.lidt(__[0x20_0000]); // all zeros
            a.ud2();
        }, new DebugLine());
        Assert.Equal(MachineEnd.TripleFault, (await machine.RunAsync().WaitAsync(Limit)).End);
    }

    /// <summary>The local APIC's timer wakes the guest from HLT by the vector that it programmed.</summary>
    [KvmFact]
    public async Task TimersWakeAHaltedGuest()
    {
        DebugLine line = new();
        using GuestMachine machine = Machine(a =>
        {
            Label start = a.CreateLabel();
            a.mov(esp, 0x10_F000);
            a.call(start); // pushes the handler's address
            SmallGuest.Say(a, '!');
            SmallGuest.Exit(a, 0);
            a.Label(ref start);
            a.pop(eax);
            GateToEax(a, 0x41);
            a.mov(__dword_ptr[0xFEE000F0], 0x1FF); // enabled by software
            a.mov(__dword_ptr[0xFEE00320], 0x41); // timer: once
            a.mov(__dword_ptr[0xFEE003E0], 0xB); // divided by one
            a.mov(__dword_ptr[0xFEE00380], 20_000_000);
            SmallGuest.Say(a, 'h');
            a.sti();
            a.hlt();
            SmallGuest.Say(a, '?');
        }, line);
        Assert.Equal(MachineEnd.DebugExit, (await machine.RunAsync().WaitAsync(Limit)).End);
        Assert.Equal("h!", line.Text);
        Assert.Equal(1, machine.GetStatistics().Vcpus[0].Counters.Interrupts);
    }

    /// <summary>INIT and start-up IPIs wake a second vCPU, which says something in real mode.</summary>
    [KvmFact]
    public async Task ASecondVcpuStarts()
    {
        DebugLine line = new();
        using GuestMachine machine = Machine(a =>
        {
            Label wait = a.CreateLabel();
            // mov al, 'b'; out 0xE9, al; mov byte [0x600], 1; hlt
            a.mov(__dword_ptr[0x5000], unchecked((int)0xE9E6_62B0));
            a.mov(__dword_ptr[0x5004], 0x0600_06C6);
            a.mov(__word_ptr[0x5008], 0xF401 - 0x10000);
            a.mov(__byte_ptr[0x600], 0);
            a.mov(__dword_ptr[0xFEE000F0], 0x1FF);
            a.mov(__dword_ptr[0xFEE00310], 1 << 24);
            a.mov(__dword_ptr[0xFEE00300], 0x4500); // INIT
            a.mov(__dword_ptr[0xFEE00300], 0x4605); // start at 5000h
            a.Label(ref wait);
            a.cmp(__byte_ptr[0x600], 1);
            a.jne(wait);
            SmallGuest.Say(a, 'a');
            SmallGuest.Exit(a, 0);
        }, line, cpus: 2);
        Assert.Equal(MachineEnd.DebugExit, (await machine.RunAsync().WaitAsync(Limit)).End);
        Assert.Equal("ba", line.Text);
    }

    /// <summary>Two halted vCPUs are woken by NMIs from a third, again and again, while the engine under all three is replaced: no wake-up is lost.</summary>
    /// <remarks>An NMI that the kernel had when the guest executed HLT, or that moved into KVM with a halted vCPU, did not wake it.</remarks>
    [KvmTheory]
    [InlineData("kvm")] // a switch to what runs already is none
    [InlineData("interpreter")]
    [InlineData("translator")]
    public async Task SeveralVcpusWakeEachOtherThroughSwitchesOfEngines(string other)
    {
        const int rounds = 3000;
        DebugLine line = new();
        using GuestMachine machine = Machine(a =>
        {
            Label ready = a.CreateLabel(), round = a.CreateLabel(), answered = a.CreateLabel();
            byte[] processor = Assemble16(p =>
            {
                Label again = p.CreateLabel();
                p.xor(ax, ax);
                p.mov(ds, ax);
                p.mov(ss, ax);
                p.inc(ax);
                p.@lock.xadd(__word_ptr[0x602], ax);
                p.shl(ax, 8);
                p.mov(sp, 0x7000);
                p.sub(sp, ax); // a stack of its own
                p.@lock.inc(__word_ptr[0x604]);
                p.Label(ref again);
                p.hlt();
                p.jmp(again);
            });
            byte[] nmi = Assemble16(p =>
            {
                p.@lock.inc(__word_ptr[0x610]);
                p.iret();
            });
            Store(a, 0x5000, processor);
            Store(a, 0x5100, nmi);
            a.mov(__dword_ptr[2 * 4], 0x5100);
            a.mov(__dword_ptr[0x602], 0);
            a.mov(__dword_ptr[0x610], 0);
            a.mov(__dword_ptr[0xFEE000F0], 0x1FF);
            a.mov(__dword_ptr[0xFEE00300], 0xC4500); // INIT, all but self
            a.mov(__dword_ptr[0xFEE00300], 0xC4605); // start at 5000h
            a.Label(ref ready);
            a.pause();
            a.cmp(__word_ptr[0x604], 2);
            a.jne(ready);
            a.xor(ebx, ebx);
            SmallGuest.Say(a, 'r');
            a.Label(ref round);
            a.add(ebx, 2);
            a.mov(__dword_ptr[0xFEE00300], 0xC4400); // NMI, all but self
            a.Label(ref answered);
            a.pause();
            a.cmp(__word_ptr[0x610], bx);
            a.jne(answered);
            a.cmp(ebx, 2 * rounds);
            a.jb(round);
            SmallGuest.Exit(a, 0);
        }, line, cpus: 3);
        machine.Start();
        Assert.True(SpinWait.SpinUntil(() => line.Count == 1, Limit));
        Random random = new(5);
        int switches = 0;
        for (int i = 0; i < 60 && machine.Status == MachineStatus.Running; i++)
        {
            await Task.Delay(random.Next(6));
            try
            {
                machine.SwitchEngine(i % 2 == 0 ? other : "kvm");
                switches++;
            }
            catch (InvalidOperationException) when (machine.Status == MachineStatus.Ended)
            {
            }
        }
        MachineOutcome outcome = await machine.Completion.WaitAsync(Limit);
        Assert.True(outcome.End == MachineEnd.DebugExit, outcome.Reason);
        Assert.True(switches >= 10, $"it ended after {switches} switches");
    }

    private static byte[] Assemble16(Action<Assembler> code)
    {
        Assembler assembler = new(16);
        code(assembler);
        using MemoryStream bytes = new();
        assembler.Assemble(new StreamCodeWriter(bytes), 0);
        return bytes.ToArray();
    }

    private static void Store(Assembler a, int address, byte[] bytes)
    {
        for (int i = 0; i < bytes.Length; i++)
            a.mov(__byte_ptr[address + i], unchecked((sbyte)bytes[i]));
    }

    [KvmFact]
    public async Task StandsWhenItIsTold()
    {
        DebugLine line = new();
        using GuestMachine machine = Machine(a =>
        {
            Label again = a.CreateLabel();
            SmallGuest.Say(a, 's');
            a.Label(ref again);
            a.inc(ebx);
            a.jmp(again);
        }, line);
        machine.Start();
        Assert.True(SpinWait.SpinUntil(() => line.Count == 1, Limit));
        machine.Pause();
        ulong first = machine.ExportVcpu(0).General[3];
        Assert.Equal(first, machine.ExportVcpu(0).General[3]);
        machine.Resume();
        using ManualResetEventSlim never = new();
        Assert.True(SpinWait.SpinUntil(() =>
        {
            never.Wait(20); // the guest needs some time to get anywhere
            machine.Pause();
            bool moved = machine.ExportVcpu(0).General[3] != first;
            machine.Resume();
            return moved;
        }, Limit));
        machine.Stop();
        Assert.Equal(MachineEnd.Stopped, (await machine.Completion.WaitAsync(Limit)).End);
    }

    private static GuestMachine Machine(Action<Assembler> code, DebugLine line, int cpus = 1)
    {
        MachineSpecification specification = SmallGuest.Specification(code, line);
        return GuestMachine.Create(specification with { Cpu = specification.Cpu with { Engine = "kvm", Count = cpus } });
    }

    /// <summary>An interrupt gate in a table at 2 MiB; the loader's code segment is kept.</summary>
    private static void GateToEax(Assembler a, int vector)
    {
        const int table = 0x20_0000;
        a.mov(__word_ptr[table + (vector * 8)], ax);
        a.shr(eax, 16);
        a.mov(__word_ptr[table + (vector * 8) + 6], ax);
        a.mov(ax, cs);
        a.mov(__word_ptr[table + (vector * 8) + 2], ax);
        a.mov(__word_ptr[table + (vector * 8) + 4], 0x8E00 - 0x10000);
        a.mov(__word_ptr[table - 8], 0x7FF);
        a.mov(__dword_ptr[table - 6], table);
        a.lidt(__[table - 8]);
    }
}
