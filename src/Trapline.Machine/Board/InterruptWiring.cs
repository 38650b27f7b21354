using Trapline.Core;
using Trapline.Devices.InterruptControllers;

namespace Trapline.Machine;

/// <summary>The interrupt controllers and the wires between them, as on a PC: each ISA request reaches the 8259 pair and the I/O APIC.</summary>
internal sealed class InterruptWiring
{
    private const int TimerPin = 2;

    private readonly SharedLine[] _isa = new SharedLine[16];

    public InterruptWiring(int vcpus, GuestClock clock, LocalApicOptions options)
    {
        Bus = new ApicBus();
        LocalApics = new LocalApic[vcpus];
        for (int i = 0; i < vcpus; i++)
            LocalApics[i] = new LocalApic(Bus, (uint)i, i == 0, clock, () => clock.TimeStampCounter, TicksToNanoseconds, options);
        IoApic = new IoApic(Bus, MachineConstants.IoApicPins);
        Pic = new PicPair(LocalApics[0].Lint0);
        Bus.Attach(Pic);
        for (int irq = 0; irq < _isa.Length; irq++)
            _isa[irq] = new SharedLine(irq == 2 ? InterruptLine.Detached : new SplitLine(Pic.Line(irq), IoApic.Line(PinOf(irq))));
    }

    public ApicBus Bus { get; }

    public LocalApic[] LocalApics { get; }

    public IoApic IoApic { get; }

    public PicPair Pic { get; }

    /// <summary>ISA requests 0 to 15.</summary>
    public IReadOnlyList<SharedLine> IsaLines => _isa;

    /// <summary>The I/O APIC input of an ISA interrupt: the timer's is 2, since the 8259 pair's cascade leaves that free. The MADT says so.</summary>
    public static int PinOf(int irq) => irq == 0 ? TimerPin : irq;

    /// <summary>One more driver of an ISA interrupt request.</summary>
    public InterruptLine Isa(int irq) => _isa[irq].AddInput();

    private static long TicksToNanoseconds(ulong ticks) => MachineConstants.TscHertz == 1_000_000_000
        ? (long)Math.Min(ticks, long.MaxValue)
        : (long)UInt128.Min((UInt128)ticks * 1_000_000_000 / MachineConstants.TscHertz, long.MaxValue);
}
