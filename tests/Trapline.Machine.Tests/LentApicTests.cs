using Iced.Intel;
using Trapline.Devices.InterruptControllers;
using Trapline.Testing;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Machine.Tests;

/// <summary>A local APIC's registers go to the kernel and come back as they were.</summary>
public sealed class LentApicTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(1);

    [KvmTheory]
    [InlineData(false)]
    [InlineData(true)]
    public void RegistersSurviveTheKernel(bool x2Apic)
    {
        DebugLine line = new();
        using GuestMachine machine = Machine(a =>
        {
            if (x2Apic)
            {
                a.mov(ecx, 0x1B);
                a.rdmsr();
                a.or(eax, 0xC00);
                a.wrmsr();
            }
            Write(0x0F, 0x1FE); // spurious vector, enabled
            Write(0x08, 0x35); // task priority
            if (!x2Apic)
            {
                Write(0x0D, 0x5A00_0000);
                Write(0x0E, 0x0FFF_FFFF);
            }
            Write(0x35, 0x700); // LINT0: ExtINT
            Write(0x36, 0x400); // LINT1: NMI
            Write(0x37, 0x99); // error
            Write(0x3E, 0xA); // divided by 128
            Write(0x32, 0x2_0041); // timer: periodic
            Write(0x38, 0x7FFF_FFFF);
            Write(0x30, 0x4_4071); // to itself: pending below the task priority's class and above it
            Write(0x30, 0x4_4023);
            SmallGuest.Say(a, 'r');
            a.cli();
            Label again = a.CreateLabel();
            a.Label(ref again);
            a.jmp(again);

            void Write(int register, int value)
            {
                if (x2Apic)
                {
                    a.mov(ecx, 0x800 + register);
                    a.xor(edx, edx);
                    a.mov(eax, value);
                    a.wrmsr();
                }
                else
                {
                    a.mov(__dword_ptr[0xFEE00000 + (register * 16)], value);
                }
            }
        }, line);
        machine.Start();
        Assert.True(SpinWait.SpinUntil(() => line.Count == 1, Limit));
        machine.Pause();
        LocalApicState before = Apic(machine);
        machine.SwitchEngine("kvm");
        LocalApicState lent = Apic(machine);
        machine.SwitchEngine("translator");
        LocalApicState after = Apic(machine);
        Same(before, lent);
        Same(before, after);
        Assert.Equal(1u << 17, before.Requests[3]);
        machine.Stop();
    }

    /// <summary>A deadline by the time-stamp counter means the same moment in the kernel.</summary>
    [KvmFact(hardware: true, lacking: "a counter at the model's rate, and so its deadlines")]
    public void ADeadlineSurvivesTheKernel()
    {
        DebugLine line = new();
        using GuestMachine machine = Machine(a =>
        {
            a.mov(__dword_ptr[0xFEE000F0], 0x1FF);
            a.mov(__dword_ptr[0xFEE00320], 0x4_0041);
            a.rdtsc();
            a.add(edx, 100); // some minutes
            a.mov(ecx, 0x6E0);
            a.wrmsr();
            SmallGuest.Say(a, 'r');
            a.cli();
            Label again = a.CreateLabel();
            a.Label(ref again);
            a.jmp(again);
        }, line);
        machine.Start();
        Assert.True(SpinWait.SpinUntil(() => line.Count == 1, Limit));
        machine.Pause();
        ulong before = Apic(machine).TscDeadline;
        machine.SwitchEngine("kvm");
        ulong lent = Apic(machine).TscDeadline;
        machine.SwitchEngine("interpreter");
        ulong after = Apic(machine).TscDeadline;
        Assert.NotEqual(0ul, before);
        // Two counters cannot be read at once.
        Assert.InRange((long)(lent - before), -1_000_000, 1_000_000);
        Assert.InRange((long)(after - before), -2_000_000, 2_000_000);
        machine.Stop();
    }

    private static void Same(LocalApicState expected, LocalApicState actual)
    {
        Assert.Equal(string.Join('\n', Texts(expected)), string.Join('\n', Texts(actual)));
        Assert.InRange(actual.TimerDeadline - expected.TimerDeadline, -5_000_000_000, 1_000_000); // of 275 seconds: the kernel's goes on while the machine stands

        static string[] Texts(LocalApicState s) =>
        [
            $"base {s.BaseMsr:x} id {s.XApicId} ldr {s.LogicalDestination:x} dfr {s.DestinationFormat:x} svr {s.SpuriousVector:x} tpr {s.TaskPriority:x}",
            $"isr {Words(s.InService)} tmr {Words(s.TriggerMode)} irr {Words(s.Requests)} lvt {Words(s.LocalVectors)}",
            $"esr {s.ErrorStatus:x} icr {s.Icr:x} lint {s.Lint0} {s.Lint1} {s.ExtIntLatched}",
            $"timer {s.InitialCount:x} {s.DivideConfiguration:x} {s.TimerRunning} {s.TimerHeldCount:x}",
        ];

        static string Words(uint[] words) => string.Join(',', words.Select(w => w.ToString("x")));
    }

    private static LocalApicState Apic(GuestMachine machine)
    {
        using MachineImage image = machine.Capture();
        return image.Board.Find<LocalApicState>("local-apic.0")!;
    }

    private static GuestMachine Machine(Action<Assembler> code, DebugLine line)
    {
        MachineSpecification specification = SmallGuest.Specification(code, line);
        return GuestMachine.Create(specification with
        {
            Cpu = specification.Cpu with { Engine = "interpreter" },
            Test = specification.Test with { KernelLocalApics = true },
        });
    }
}
