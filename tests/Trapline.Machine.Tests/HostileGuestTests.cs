using System.Diagnostics;
using Trapline.Core;
using Trapline.X86;

namespace Trapline.Machine.Tests;

/// <summary>A guest that does anything at all to ports, device memory, MSRs and wild addresses ends in no fault of ours.</summary>
public sealed class HostileGuestTests
{
    private const int Operations = 150_000;

    // What ends or resets the machine is rare, so that a run sees more than one board but not a new one each moment.
    private static readonly ushort[] Ends = [0x64, 0x92, 0xB2, 0xCF9, 0x604, 0x605, 0xF4, 0xF5, 0xF6, 0xF7, 0x505];

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task NothingThatAGuestDoesBreaksTheMachine(int seed)
    {
        Random random = new(seed);
        int done = 0;
        List<MachineEnd> ends = [];
        Stopwatch watch = Stopwatch.StartNew();
        while (done < Operations)
        {
            MachineSpecification specification = new()
            {
                MemoryBytes = 16 << 20,
                Test = new TestSpecification { DebugExit = true, TestDevice = true },
                Cpu = new CpuSpecification { Count = 2 },
                Consoles = new ConsoleSpecification { Serial = [NullCharacterBackend.Instance], DebugConsole = NullCharacterBackend.Instance },
            };
            using GuestMachine machine = GuestMachine.Create(specification, parts => new FakeEngine(parts, engine =>
            {
                if (parts.Index != 0)
                    return StopReason.WaitingForStartUp;
                while (done < Operations && !engine.Kicked)
                {
                    Hammer(parts, random);
                    done++;
                }
                if (done >= Operations)
                    parts.Io.PortOut(0, 0x604, 2, 0x2000);
                return StopReason.Kicked;
            }));
            MachineOutcome outcome = await machine.RunAsync().WaitAsync(TimeSpan.FromMinutes(2));
            Assert.True(outcome.End != MachineEnd.Failed, $"seed {seed}, operation {done}: {outcome.Reason}");
            ends.Add(outcome.End);
        }
        Assert.Contains(MachineEnd.PowerOff, ends);
        Assert.True(watch.Elapsed < TimeSpan.FromMinutes(1), $"{Operations} operations took {watch.Elapsed}");
    }

    private static void Hammer(EngineParts parts, Random random)
    {
        IIoSeam io = parts.Io;
        int size = 1 << random.Next(3);
        switch (random.Next(10))
        {
            case 0 or 1:
                io.PortIn(0, Port(random), size);
                break;
            case 2 or 3:
                ushort port = Port(random);
                if (!Ends.Any(end => end >= port && end < port + size) || random.Next(300) == 0)
                    io.PortOut(0, port, size, (uint)Value(random));
                break;
            case 4:
                io.MmioRead(0, new Gpa(Address(random)), 1 << random.Next(4));
                break;
            case 5:
                io.MmioWrite(0, new Gpa(Address(random)), 1 << random.Next(4), Value(random));
                break;
            case 6:
                io.ReadMsr(0, MsrIndex(random), out _);
                break;
            case 7:
                io.WriteMsr(0, MsrIndex(random), Value(random));
                break;
            case 8:
                // Physical memory as a device with wild descriptors sees it.
                byte[] buffer = new byte[random.Next(1, 9000)];
                ulong address = random.Next(3) == 0 ? (ulong)random.NextInt64() * 2 : Address(random);
                bool read = parts.Memory.TryRead(new Gpa(address), buffer), written = parts.Memory.TryWrite(new Gpa(address), buffer);
                Assert.Equal(read, written);
                break;
            default:
                if (parts.Interrupts.Pending)
                    Assert.InRange(parts.Interrupts.Acknowledge(), -1, 255);
                io.WriteCr8(0, (byte)random.Next(256));
                io.ReadCr8(0);
                break;
        }
    }

    private static ushort Port(Random random) => random.Next(4) switch
    {
        0 => (ushort)random.Next(0x10000),
        1 => (ushort)(0xCF8 + random.Next(8)),
        2 => (ushort)(0x510 + random.Next(12)), // fw_cfg, whose DMA follows the guest's addresses
        _ => (ushort)random.Next(0x700),
    };

    private static ulong Address(Random random) => random.Next(9) switch
    {
        0 => (ulong)random.NextInt64() * 2,
        1 => 0xFEC0_0000 + (ulong)random.Next(0x1000),
        2 => 0xFED0_0000 + (ulong)random.Next(0x500),
        3 => 0xFEE0_0000 + (ulong)random.Next(0x1000),
        4 => 0xE000_0000 + (ulong)random.Next(0x1000_0000),
        5 => 0xFF00_0000 + (ulong)random.Next(0x100_0000),
        6 => ulong.MaxValue - (ulong)random.Next(16),
        7 => (16ul << 20) - (ulong)random.Next(0x3000),
        _ => (ulong)random.NextInt64(1L << 41),
    };

    private static uint MsrIndex(Random random) => random.Next(5) switch
    {
        0 => (uint)random.NextInt64(1L << 32),
        1 => 0x800 + (uint)random.Next(0x100),
        2 => 0x200 + (uint)random.Next(0x100),
        3 => 0xC000_0080 + (uint)random.Next(0x90),
        _ => (uint)random.Next(0x500),
    };

    private static ulong Value(Random random) => random.Next(6) switch
    {
        0 => 0,
        1 => ulong.MaxValue,
        2 => (ulong)random.Next(256),
        3 => 1ul << random.Next(64),
        4 => Address(random),
        _ => (ulong)random.NextInt64() * 2,
    };
}
