using Trapline.Core;

namespace Trapline.Devices.InterruptControllers;

/// <summary>Routes IPIs, I/O APIC interrupts and MSIs to the local APICs, and EOIs back to the I/O APICs.</summary>
/// <remarks>Has no lock of its own but for lending: the lists are replaced whole when a controller is attached. It takes one controller's lock at a
/// time. Lock order of the room: device, <see cref="SharedLine"/>, <see cref="PicPair"/>, <see cref="IoApic"/>, lending, <see cref="LocalApic"/>;
/// a local APIC calls the bus only with its own lock released.</remarks>
public sealed class ApicBus : IMsiSink
{
    private volatile LocalApic[] _processors = [];
    private volatile IoApic[] _ioApics = [];
    private volatile PicPair? _pic;
    private volatile IApicKeeper? _keeper; // of one that is lent: keepers of a machine speak for each other
    private readonly Lock _lending = new();
    private int _turn; // breaks ties of lowest-priority arbitration

    internal void Attach(LocalApic apic) => _processors = [.. _processors, apic];

    internal void Attach(IoApic apic) => _ioApics = [.. _ioApics, apic];

    /// <summary>Names the 8259 pair that answers an ExtINT's acknowledge cycle.</summary>
    public void Attach(PicPair pic) => _pic = pic;

    /// <summary>An MSI: SDM vol. 3A, 11.11. Writes outside 0xFEExxxxx are ignored.</summary>
    public void Send(MsiMessage message)
    {
        if ((message.Address & 0xFFFF_FFFF_FFF0_0000) != 0xFEE0_0000)
            return;
        uint data = message.Data;
        bool level = (data & 0x8000) != 0;
        if (level && (data & 0x4000) == 0)
            return; // de-assertion
        bool logical = (message.Address & 4) != 0;
        var mode = (DeliveryMode)((data >> 8) & 7);
        if (mode == DeliveryMode.Fixed && logical && (message.Address & 8) != 0)
            mode = DeliveryMode.LowestPriority; // redirection hint
        Deliver(new ApicMessage((uint)(message.Address >> 12) & 0xFF, Wide: false, logical, mode, (byte)data, level));
    }

    /// <summary>Delivers to every addressed processor (to one of them in lowest-priority mode); false if none accepted.</summary>
    public bool Deliver(in ApicMessage message)
    {
        LocalApic[] processors = _processors;
        bool accepted = IsLending && DeliverToKeeper(message);
        if (message.Mode == DeliveryMode.LowestPriority)
            return accepted || (Arbitrate(processors, message)?.Accept(message) ?? false);
        foreach (LocalApic apic in processors)
        {
            if (apic.IsAddressedBy(message))
                accepted |= apic.Accept(message);
        }
        return accepted;
    }

    /// <summary>Delivers to all processors, or to all but <paramref name="except"/> (the ICR's shorthands).</summary>
    internal void DeliverToAll(in ApicMessage message, LocalApic? except)
    {
        foreach (LocalApic apic in _processors)
        {
            if (apic != except && apic.Enabled)
                apic.Accept(message);
        }
    }

    internal void BroadcastEoi(byte vector)
    {
        foreach (IoApic apic in _ioApics)
            apic.EndOfInterrupt(vector);
    }

    /// <summary>Lends or takes back a local APIC: no message is under way meanwhile, so none is lost between the two places.</summary>
    internal void Move(Action registers)
    {
        lock (_lending)
        {
            registers();
            _keeper = Array.Find(_processors, apic => apic.Keeper != null)?.Keeper;
        }
        foreach (IoApic apic in _ioApics)
            apic.ShowEnds();
    }

    private bool DeliverToKeeper(in ApicMessage message)
    {
        lock (_lending)
            return _keeper?.Deliver(message.ToMsi()) ?? false;
    }

    /// <summary>Tells whoever keeps local APICs which interrupts come from an I/O APIC's inputs.</summary>
    internal void ShowEnds(ReadOnlySpan<MsiMessage?> inputs) => _keeper?.WatchEnds(inputs);

    /// <summary>Somebody keeps local APICs.</summary>
    internal bool IsLending => _keeper != null;

    internal int AcknowledgePic() => _pic?.Acknowledge() ?? -1;

    private LocalApic? Arbitrate(LocalApic[] processors, in ApicMessage message)
    {
        LocalApic? best = null;
        int bestPriority = int.MaxValue;
        int start = (int)((uint)Interlocked.Increment(ref _turn) % (uint)Math.Max(processors.Length, 1));
        for (int i = 0; i < processors.Length; i++)
        {
            int index = start + i;
            LocalApic apic = processors[index < processors.Length ? index : index - processors.Length];
            if (!apic.SoftwareEnabled || !apic.IsAddressedBy(message))
                continue;
            int priority = apic.ArbitrationPriority;
            if (priority < bestPriority)
                (best, bestPriority) = (apic, priority);
        }
        return best;
    }
}
