using Trapline.Core;

namespace Trapline.Devices.InterruptControllers;

// Messages from the bus, the ICR, the pins and the local vector table (SDM vol. 3A, 11.5 and 11.6).
public sealed partial class LocalApic
{
    private const uint ErrorSendIllegalVector = 1 << 5;
    private const uint ErrorReceivedIllegalVector = 1 << 6;
    private const uint ErrorIllegalRegister = 1 << 7;

    private const int LvtTimer = 0, LvtPerformance = 2, LvtLint0 = 3, LvtLint1 = 4, LvtError = 5;
    private const uint LvtMasked = 1 << 16;
    private const uint LvtLevelTriggered = 1 << 15;
    private const uint LvtRemoteIrr = 1 << 14;
    private const uint LvtModeMask = 7 << 8;
    private const uint LvtModeExtInt = 7 << 8;

    /// <summary>True if the message's destination names this APIC. Reads without the lock: each field is one word.</summary>
    internal bool IsAddressedBy(in ApicMessage message)
    {
        // The 8259 pair's cycle is the machine's even where all else is the keeper's.
        if (!Enabled || (_keeper != null && message.Mode != DeliveryMode.ExtInt))
            return false;
        if (message.IsBroadcast)
            return true;
        uint destination = message.Destination;
        if (!message.Logical)
            return destination == (IsX2Apic ? _id : _xApicId);
        if (IsX2Apic)
        {
            uint ldr = X2ApicLogicalId;
            return destination >> 16 == ldr >> 16 && (destination & ldr & 0xFFFF) != 0;
        }
        uint mine = _ldr >> 24;
        if (destination > 0xFF)
            return false;
        if (_dfr >> 28 == 0xF)
            return (destination & mine) != 0;
        return (destination >> 4 == 0xF || destination >> 4 == mine >> 4) && (destination & mine & 0xF) != 0; // cluster model
    }

    private uint X2ApicLogicalId => ((_id >> 4) << 16) | (1u << (int)(_id & 15));

    /// <summary>Takes a message that was found to address this APIC; false if it is refused.</summary>
    internal bool Accept(in ApicMessage message)
    {
        lock (_lock)
            return AcceptLocked(message.Mode, message.Vector, message.LevelTriggered);
    }

    private bool AcceptLocked(DeliveryMode mode, byte vector, bool levelTriggered)
    {
        switch (mode)
        {
            case DeliveryMode.Fixed:
            case DeliveryMode.LowestPriority:
                if (!SoftwareEnabled)
                    return false;
                if (vector < 16)
                {
                    RecordError(ErrorReceivedIllegalVector);
                    return false;
                }
                _irr.Add(vector);
                _tmr.Set(vector, levelTriggered);
                Update();
                return true;
            case DeliveryMode.Nmi:
                _signals.NonMaskableInterrupt();
                return true;
            case DeliveryMode.Init:
                InitResetLocked();
                _signals.Init();
                return true;
            case DeliveryMode.StartUp:
                _signals.StartUp(vector);
                return true;
            case DeliveryMode.ExtInt:
                _extIntLatched = true;
                Update();
                return true;
            default:
                return mode == DeliveryMode.Smi; // there is no system management mode: swallowed
        }
    }

    /// <summary>Sends what a write to the ICR asks for. The lock is not held.</summary>
    private void SendIpi(ulong icr, bool wide)
    {
        uint low = (uint)icr;
        var mode = (DeliveryMode)((low >> 8) & 7);
        byte vector = (byte)low;
        if (mode == DeliveryMode.Init && (low & 0xC000) == 0x8000)
            return; // INIT level de-assert: nothing on current processors
        if (mode is DeliveryMode.Reserved or DeliveryMode.ExtInt)
            return;
        if (mode is DeliveryMode.Fixed or DeliveryMode.LowestPriority && vector < 16)
        {
            lock (_lock)
                RecordError(ErrorSendIllegalVector);
            return;
        }
        uint destination = wide ? (uint)(icr >> 32) : (uint)(icr >> 56);
        var message = new ApicMessage(destination, wide, (low & 0x800) != 0, mode, vector, LevelTriggered: false);
        switch ((low >> 18) & 3)
        {
            case 0: _bus.Deliver(message); break;
            case 1: Accept(message); break;
            case 2: _bus.DeliverToAll(message, except: null); break;
            default: _bus.DeliverToAll(message, except: this); break;
        }
    }

    private void RecordError(uint error)
    {
        bool isNew = (_errors & error) == 0;
        _errors |= error;
        if (isNew)
            RaiseLocal(LvtError);
    }

    /// <summary>A performance counter overflowed: its LVT entry is delivered and, as the SDM says, masked.</summary>
    public void PerformanceCounterOverflow()
    {
        lock (_lock)
        {
            RaiseLocal(LvtPerformance);
            _lvt[LvtPerformance] |= LvtMasked;
        }
    }

    private void RaiseLocal(int entry)
    {
        uint lvt = _lvt[entry];
        if ((lvt & LvtMasked) != 0)
            return;
        var mode = entry is LvtTimer or LvtError ? DeliveryMode.Fixed : (DeliveryMode)((lvt >> 8) & 7);
        if (mode is DeliveryMode.ExtInt or DeliveryMode.StartUp or DeliveryMode.LowestPriority or DeliveryMode.Reserved)
            return;
        if (mode == DeliveryMode.Fixed && entry == LvtError && (byte)lvt < 16)
        {
            _errors |= ErrorReceivedIllegalVector; // not through RecordError: it would come back here
            return;
        }
        AcceptLocked(mode, (byte)lvt, levelTriggered: false);
    }

    private void SetPin(int pin, bool level)
    {
        lock (_lock)
        {
            ref bool current = ref pin == 0 ? ref _lint0 : ref _lint1;
            bool rising = level && !current;
            current = level;
            if (!Enabled || _keeper != null)
            {
                // Without the APIC, or past one that is lent, the pins are the processor's INTR and NMI.
                if (pin == 1 && rising)
                    _signals.NonMaskableInterrupt();
            }
            else
            {
                int entry = LvtLint0 + pin;
                if ((_lvt[entry] & (LvtModeMask | LvtLevelTriggered)) == LvtLevelTriggered)
                    DriveLevelPin(entry, level);
                else if (rising)
                    RaiseLocal(entry);
            }
            Update();
        }
    }

    /// <summary>A fixed, level-triggered pin: requested while it is high, once for each EOI.</summary>
    private void DriveLevelPin(int entry, bool level)
    {
        uint lvt = _lvt[entry];
        if (!level || (lvt & (LvtMasked | LvtRemoteIrr)) != 0)
            return;
        if (AcceptLocked(DeliveryMode.Fixed, (byte)lvt, levelTriggered: true))
            _lvt[entry] |= LvtRemoteIrr;
    }

    private void LocalEndOfInterrupt(byte vector)
    {
        for (int entry = LvtLint0; entry <= LvtLint1; entry++)
        {
            if ((_lvt[entry] & LvtRemoteIrr) == 0 || (byte)_lvt[entry] != vector)
                continue;
            _lvt[entry] &= ~LvtRemoteIrr;
            DriveLevelPin(entry, entry == LvtLint0 ? _lint0 : _lint1);
        }
    }

    private sealed class Pin(LocalApic owner, int number) : InterruptLine
    {
        public override void Set(bool level) => owner.SetPin(number, level);
    }
}
