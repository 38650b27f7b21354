using System.Diagnostics;
using System.Text;
using Trapline.Core;
using Trapline.X86;

namespace Trapline.Machine.Tests;

public class GuestMachineTests
{
    private static readonly MachineSpecification Small = new() { MemoryBytes = 16 << 20 };

    private static GuestMachine Make(Func<FakeEngine, StopReason> program, MachineSpecification? specification = null) =>
        GuestMachine.Create(specification ?? Small, parts => new FakeEngine(parts, program));

    private static async Task<MachineOutcome> Within(Task<MachineOutcome> task) => await task.WaitAsync(TimeSpan.FromSeconds(20));

    [Fact]
    public async Task PowerOffThroughPm1Control()
    {
        using GuestMachine machine = Make(e =>
        {
            e.Io.PortOut(0, 0x604, 2, 0x2000);
            return StopReason.Halted;
        });
        Assert.Equal(MachineEnd.PowerOff, (await Within(machine.RunAsync())).End);
    }

    [Fact]
    public async Task DebugExitGivesItsCode()
    {
        using GuestMachine machine = Make(e =>
        {
            e.Io.PortOut(0, 0xF4, 1, 3);
            return StopReason.Halted;
        }, Small with { Test = new TestSpecification { DebugExit = true } });
        MachineOutcome outcome = await Within(machine.RunAsync());
        Assert.Equal((MachineEnd.DebugExit, 7), (outcome.End, outcome.DebugExitCode));
    }

    [Fact]
    public async Task PanicTripleFaultAndEngineFailureEndIt()
    {
        using GuestMachine panicking = Make(e =>
        {
            e.Io.PortOut(0, 0x505, 1, 1);
            return StopReason.Halted;
        });
        Assert.Equal(MachineEnd.Panic, (await Within(panicking.RunAsync())).End);
        using GuestMachine faulting = Make(_ => StopReason.TripleFault);
        Assert.Equal(MachineEnd.TripleFault, (await Within(faulting.RunAsync())).End);
        using GuestMachine broken = Make(_ => throw new InvalidOperationException("bug"));
        MachineOutcome outcome = await Within(broken.RunAsync());
        Assert.Equal(MachineEnd.Failed, outcome.End);
        Assert.DoesNotContain('\n', outcome.Reason);
    }

    [Fact]
    public async Task ResetBuildsANewBoardAndKeepsTheBackends()
    {
        RecordingBackend backend = new();
        int boots = 0;
        MachineSpecification specification = Small with { Consoles = new ConsoleSpecification { Serial = [backend] } };
        using GuestMachine machine = Make(e =>
        {
            int boot = Interlocked.Increment(ref boots);
            Assert.False(e.Parts.Memory.TryRead(new Gpa(0x100000), new byte[1]) && ReadByte(e) != 0, "memory was not fresh");
            e.Parts.Memory.TryWrite(new Gpa(0x100000), [1]);
            e.Io.PortOut(0, 0x3F8, 1, (uint)('0' + boot));
            e.Io.PortOut(0, boot < 3 ? (ushort)0xCF9 : (ushort)0x604, boot < 3 ? 1 : 2, boot < 3 ? 6u : 0x2000);
            while (!e.Kicked)
                Thread.Yield();
            return StopReason.Kicked;
        }, specification);
        Assert.Equal(MachineEnd.PowerOff, (await Within(machine.RunAsync())).End);
        Assert.Equal("123", backend.Text);
    }

    private static byte ReadByte(FakeEngine e)
    {
        byte[] one = new byte[1];
        e.Parts.Memory.TryRead(new Gpa(0x100000), one);
        return one[0];
    }

    [Fact]
    public async Task NoRebootEndsOnReset()
    {
        using GuestMachine machine = Make(e =>
        {
            e.Io.PortOut(0, 0x64, 1, 0xFE);
            return StopReason.Halted;
        }, Small with { End = new EndSpecification { NoReboot = true } });
        Assert.Equal(MachineEnd.Reboot, (await Within(machine.RunAsync())).End);
    }

    [Fact]
    public async Task TimeoutEndsAHaltedGuest()
    {
        using GuestMachine machine = Make(_ => StopReason.Halted, Small with { End = new EndSpecification { Timeout = TimeSpan.FromMilliseconds(100) } });
        Assert.Equal(MachineEnd.TimedOut, (await Within(machine.RunAsync())).End);
    }

    [Fact]
    public async Task StopIsPromptForBusyAndIdleGuests()
    {
        foreach (bool busy in new[] { true, false })
        {
            using GuestMachine machine = Make(e =>
            {
                while (busy && !e.Kicked)
                    Thread.Yield();
                return busy ? StopReason.Kicked : StopReason.Halted;
            }, Small with { Cpu = new CpuSpecification { Count = 3 } });
            machine.Start();
            await Task.Delay(50);
            var watch = Stopwatch.StartNew();
            machine.Stop();
            Assert.Equal(MachineEnd.Stopped, (await Within(machine.Completion)).End);
            Assert.True(watch.ElapsedMilliseconds < 1000, $"stop took {watch.ElapsedMilliseconds} ms");
        }
    }

    [Fact]
    public async Task StopBeforeStartCompletes()
    {
        using GuestMachine machine = Make(_ => StopReason.Halted);
        machine.Stop();
        Assert.Equal(MachineEnd.Stopped, (await Within(machine.RunAsync())).End);
    }

    [Fact]
    public async Task PauseStopsVcpusAndTime()
    {
        long turns = 0;
        using GuestMachine machine = Make(e =>
        {
            while (!e.Kicked)
                Interlocked.Increment(ref turns);
            return StopReason.Kicked;
        });
        machine.Start();
        await Task.Delay(30);
        machine.Pause();
        long seen = Interlocked.Read(ref turns);
        TimeSpan time = machine.GetStatistics().GuestTime;
        _ = machine.ExportVcpu(0);
        await Task.Delay(50);
        Assert.Equal(seen, Interlocked.Read(ref turns));
        Assert.Equal(time, machine.GetStatistics().GuestTime);
        machine.Resume();
        await Task.Delay(30);
        Assert.True(Interlocked.Read(ref turns) > seen);
        machine.Stop();
        await Within(machine.Completion);
    }

    [Fact]
    public async Task PauseAndEndAtTheSameTimeDoNotDeadlock()
    {
        for (int i = 0; i < 50; i++)
        {
            using GuestMachine machine = Make(e =>
            {
                Thread.SpinWait(1000);
                e.Io.PortOut(0, 0x604, 2, 0x2000);
                return StopReason.Halted;
            });
            machine.Start();
            machine.Pause();
            machine.Resume();
            await Within(machine.Completion);
        }
    }

    [Fact]
    public async Task TheLocalApicTimerWakesAHaltedVcpu()
    {
        int ticks = 0;
        using GuestMachine machine = Make(e =>
        {
            if (e.Parts.Interrupts.Pending)
            {
                Assert.Equal(0x40, e.Parts.Interrupts.Acknowledge());
                e.Io.MmioWrite(0, new Gpa(0xFEE000B0), 4, 0);
                if (++ticks == 20)
                    e.Io.PortOut(0, 0x604, 2, 0x2000);
            }
            e.Io.MmioWrite(0, new Gpa(0xFEE000F0), 4, 0x1FF);
            e.Io.MmioWrite(0, new Gpa(0xFEE003E0), 4, 0xB);     // divide by 1
            e.Io.MmioWrite(0, new Gpa(0xFEE00320), 4, 0x40);    // one-shot, vector 0x40
            e.Io.MmioWrite(0, new Gpa(0xFEE00380), 4, 1_000_000);
            return StopReason.Halted;
        });
        Assert.Equal(MachineEnd.PowerOff, (await Within(machine.RunAsync())).End);
        Assert.True(machine.GetStatistics().Vcpus[0].Halted > TimeSpan.FromMilliseconds(15));
        Assert.Contains(machine.GetStatistics().Exits, x => x.Kind == ExitKind.MmioWrite && x.Count >= 100);
    }

    [Fact]
    public async Task WakesAreNeverLost()
    {
        // Two vCPUs wake each other by IPIs, each halting in between.
        const int rounds = 20_000;
        int[] received = new int[2];
        using ManualResetEventSlim ready = new();
        using GuestMachine machine = Make(e =>
        {
            int me = e.Parts.Index;
            if (e.Runs == 1)
            {
                e.Io.MmioWrite(me, new Gpa(0xFEE000F0), 4, 0x1FF);
                if (me == 1)
                {
                    ready.Set();
                    return StopReason.Halted;
                }
                ready.Wait();
            }
            else if (!e.Parts.Interrupts.Pending)
            {
                return StopReason.Halted;
            }
            else
            {
                e.Parts.Interrupts.Acknowledge();
                e.Io.MmioWrite(me, new Gpa(0xFEE000B0), 4, 0);
                if (++received[me] >= rounds && me == 0)
                    e.Io.PortOut(me, 0x604, 2, 0x2000);
            }
            e.Io.MmioWrite(me, new Gpa(0xFEE00310), 4, (ulong)(1 - me) << 24);
            e.Io.MmioWrite(me, new Gpa(0xFEE00300), 4, 0x4050);
            return StopReason.Halted;
        }, Small with { Cpu = new CpuSpecification { Count = 2 } });
        MachineOutcome outcome = await machine.RunAsync().WaitAsync(TimeSpan.FromSeconds(60));
        Assert.Equal(MachineEnd.PowerOff, outcome.End);
    }

    [Fact]
    public async Task TwoMachinesLiveSideBySide()
    {
        Task<MachineOutcome>[] runs = [.. Enumerable.Range(0, 2).Select(async n =>
        {
            RecordingBackend backend = new();
            using GuestMachine machine = Make(e =>
            {
                foreach (char c in $"machine {n}")
                    e.Io.PortOut(0, 0x3F8, 1, c);
                e.Io.PortOut(0, 0xF4, 1, (uint)n);
                return StopReason.Halted;
            }, Small with
            {
                Consoles = new ConsoleSpecification { Serial = [backend] },
                Test = new TestSpecification { DebugExit = true },
            });
            MachineOutcome outcome = await Within(machine.RunAsync());
            Assert.Equal($"machine {n}", backend.Text);
            return outcome;
        })];
        MachineOutcome[] outcomes = await Task.WhenAll(runs);
        Assert.Equal([1, 3], outcomes.Select(o => o.DebugExitCode));
    }

    [Fact]
    public void DisposingJoinsAndDisposesEngines()
    {
        List<FakeEngine> engines = [];
        GuestMachine machine = GuestMachine.Create(Small, parts =>
        {
            FakeEngine engine = new(parts, _ => StopReason.Halted);
            engines.Add(engine);
            return engine;
        });
        machine.Start();
        machine.Dispose();
        Assert.All(engines, e => Assert.True(e.Disposed));
        Assert.True(machine.Completion.IsCompleted);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(4096)]
    [InlineData((1 << 20) + 1)]
    public void ImpossibleMemoryIsRefused(ulong bytes) =>
        Assert.Throws<BadInputException>(() => Make(_ => StopReason.Halted, new MachineSpecification { MemoryBytes = bytes }));

    [Fact]
    public void SixtyFourGibibytesAreCommittedLazily()
    {
        using GuestMachine machine = Make(_ => StopReason.Halted, new MachineSpecification { MemoryBytes = 64ul << 30 });
        Assert.True(machine.Memory.TryWrite(new Gpa((64ul << 30) + (1ul << 30) - 8), [1, 2, 3, 4, 5, 6, 7, 8]));
        Assert.False(machine.Memory.TryWrite(new Gpa(0xC000_0000), [1]));
        Assert.False(machine.Memory.TryWrite(new Gpa(0xA_0000), [1]));
        Assert.True(Process.GetCurrentProcess().WorkingSet64 < 2L << 30);
    }

    [Fact]
    public void UnknownEngineAndModelAreRefused()
    {
        Assert.Contains("warp", Assert.Throws<BadInputException>(() =>
            GuestMachine.Create(Small with { Cpu = new CpuSpecification { Engine = "warp" } })).Message, StringComparison.Ordinal);
        Assert.Contains("z80", Assert.Throws<BadInputException>(() =>
            Make(_ => StopReason.Halted, Small with { Cpu = new CpuSpecification { Model = "z80" } })).Message, StringComparison.Ordinal);
    }

    private sealed class RecordingBackend : ICharacterBackend
    {
        private readonly StringBuilder _text = new();

        public string Text
        {
            get
            {
                lock (_text)
                    return _text.ToString();
            }
        }

        public void Write(ReadOnlySpan<byte> data)
        {
            lock (_text)
                _text.Append(Encoding.ASCII.GetString(data));
        }

        public void Connect(ICharacterSink sink) { }
    }
}
