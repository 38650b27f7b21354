namespace Trapline.Devices.InterruptControllers;

// The register page, the x2APIC MSRs, IA32_APIC_BASE, IA32_TSC_DEADLINE and CR8 (SDM vol. 3A, 11.4, 11.8.6 and 11.12).
public sealed partial class LocalApic
{
    private const uint MsrApicBase = 0x1B;
    private const uint MsrTscDeadline = 0x6E0;
    private const uint MsrX2ApicFirst = 0x800;
    private const uint MsrX2ApicLast = 0x8FF;

    // Registers by number: the MMIO offset / 16, or the MSR - 0x800.
    private const int RegId = 0x02, RegVersion = 0x03, RegTpr = 0x08, RegApr = 0x09, RegPpr = 0x0A, RegEoi = 0x0B, RegRemoteRead = 0x0C;
    private const int RegLdr = 0x0D, RegDfr = 0x0E, RegSvr = 0x0F, RegIsr = 0x10, RegTmr = 0x18, RegIrr = 0x20, RegEsr = 0x28;
    private const int RegIcr = 0x30, RegIcrHigh = 0x31, RegLvtFirst = 0x32, RegLvtLast = 0x37;
    private const int RegInitialCount = 0x38, RegCurrentCount = 0x39, RegDivide = 0x3E, RegSelfIpi = 0x3F;

    private const uint LvtReadOnly = (1 << 12) | LvtRemoteIrr;

    /// <summary>Bits of each LVT entry that software may set.</summary>
    private static ReadOnlySpan<uint> LvtWritable => [0x700FF, 0x107FF, 0x107FF, 0x1A7FF, 0x1A7FF, 0x100FF];

    private uint Version => 0x14u | (5u << 16) | (_options.EoiBroadcastSuppression ? 1u << 24 : 0);

    private uint SvrWritable => 0x3FFu | (_options.EoiBroadcastSuppression ? SvrSuppressEoiBroadcast : 0);

    /// <summary>Reads the register page, of 4,096 bytes; all ones while it does not answer.</summary>
    public ulong ReadMmio(ulong offset, int size)
    {
        if (!Enabled || IsX2Apic || offset >= 0x1000)
            return ulong.MaxValue;
        int within = (int)offset & 15;
        if (within >= 4)
            return 0;
        CollectEoi();
        lock (_lock)
        {
            if (!TryRead((int)offset >> 4, out uint value))
                RecordError(ErrorIllegalRegister);
            return value >> (within * 8);
        }
    }

    /// <summary>Writes the register page; only aligned accesses of 32 bits (or their superset) do anything.</summary>
    public void WriteMmio(ulong offset, int size, ulong value)
    {
        if (!Enabled || IsX2Apic || offset >= 0x1000 || (offset & 15) != 0 || size < 4)
            return;
        CollectEoi();
        int register = (int)offset >> 4;
        int broadcast = -1;
        ulong send = 0;
        lock (_lock)
        {
            switch (register)
            {
                case RegId: _xApicId = (byte)(value >> 24); break;
                case RegEoi: EndOfInterrupt(out broadcast); break;
                case RegLdr: _ldr = (uint)value & 0xFF00_0000; break;
                case RegDfr: _dfr = (uint)value | 0x0FFF_FFFF; break;
                case RegEsr: LatchErrors(); break;
                case RegIcr:
                    _icr = (_icr & 0xFFFF_FFFF_0000_0000) | ((uint)value & 0xCCFFF & ~0x1000u);
                    send = _icr;
                    break;
                case RegIcrHigh: _icr = (uint)_icr | ((value & 0xFF00_0000) << 32); break;
                default:
                    if (!TryWriteCommon(register, (uint)value) && !TryRead(register, out _))
                        RecordError(ErrorIllegalRegister);
                    break;
            }
        }
        if (broadcast >= 0)
            _bus.BroadcastEoi((byte)broadcast);
        if (register == RegIcr)
            SendIpi(send, wide: false);
    }

    /// <summary>RDMSR of 0x1B, 0x6E0 or 0x800 to 0x8FF; false means #GP (also for any other register).</summary>
    public bool ReadMsr(uint index, out ulong value)
    {
        value = 0;
        CollectEoi();
        switch (index)
        {
            case MsrApicBase:
                value = Volatile.Read(ref _baseMsr);
                return true;
            case MsrTscDeadline:
                if (!_options.TscDeadline)
                    return false;
                lock (_lock)
                    value = ReadTscDeadline();
                return true;
            case < MsrX2ApicFirst or > MsrX2ApicLast:
                return false;
        }
        int register = (int)(index - MsrX2ApicFirst);
        if (!IsX2Apic || register is RegApr or RegEoi or RegRemoteRead or RegDfr or RegIcrHigh or RegSelfIpi)
            return false;
        lock (_lock)
        {
            if (register == RegIcr)
            {
                value = _icr;
                return true;
            }
            bool readable = TryRead(register, out uint low);
            value = low;
            return readable;
        }
    }

    /// <summary>WRMSR of 0x1B, 0x6E0 or 0x800 to 0x8FF; false means #GP (also for any other register).</summary>
    public bool WriteMsr(uint index, ulong value)
    {
        CollectEoi();
        switch (index)
        {
            case MsrApicBase:
                return WriteBase(value);
            case MsrTscDeadline:
                if (!_options.TscDeadline)
                    return false;
                lock (_lock)
                    WriteTscDeadline(value);
                return true;
            case < MsrX2ApicFirst or > MsrX2ApicLast:
                return false;
            default:
                return IsX2Apic && WriteX2Apic((int)(index - MsrX2ApicFirst), value);
        }
    }

    /// <summary>The task priority's class, 0 to 15: CR8.</summary>
    public byte ReadCr8() => (byte)(_tpr >> 4);

    /// <summary>Sets the task priority's class; works whether the APIC is enabled or not.</summary>
    public void WriteCr8(byte value)
    {
        lock (_lock)
        {
            _tpr = (byte)(value << 4);
            Update();
        }
    }

    private bool WriteX2Apic(int register, ulong value)
    {
        if (register == RegIcr)
        {
            // Bits 13, 17:16 and 31:20 are reserved; bit 12 is no longer a status (11.12.9).
            if ((value & 0xFFF3_2000) != 0)
                return false;
            value &= ~0x1000ul;
            lock (_lock)
                _icr = value;
            SendIpi(value, wide: true);
            return true;
        }
        if (value > uint.MaxValue)
            return false;
        switch (register)
        {
            case RegEoi:
                if (value != 0)
                    return false;
                int broadcast;
                lock (_lock)
                    EndOfInterrupt(out broadcast);
                if (broadcast >= 0)
                    _bus.BroadcastEoi((byte)broadcast);
                return true;
            case RegEsr:
                if (value != 0)
                    return false;
                lock (_lock)
                    LatchErrors();
                return true;
            case RegSelfIpi:
                if (value > 0xFF)
                    return false;
                SendIpi((1u << 18) | value, wide: true);
                return true;
            case RegTpr when value > 0xFF:
            case RegDivide when (value & ~0xBul) != 0:
            case RegSvr when (value & ~(ulong)SvrWritable) != 0:
            case >= RegLvtFirst and <= RegLvtLast when (value & ~(ulong)(LvtWritable[register - RegLvtFirst] | LvtReadOnly)) != 0:
            case RegId or RegVersion or RegLdr or RegDfr: // the last is not there at all
                return false;
            default:
                lock (_lock)
                    return TryWriteCommon(register, (uint)value);
        }
    }

    private bool TryRead(int register, out uint value)
    {
        value = 0;
        switch (register)
        {
            case RegId: value = IsX2Apic ? _id : (uint)_xApicId << 24; break;
            case RegVersion: value = Version; break;
            case RegTpr: value = _tpr; break;
            case RegApr: value = (uint)ArbitrationRegister(); break;
            case RegPpr: value = (uint)ProcessorPriority(); break;
            case RegEoi or RegRemoteRead: break;
            case RegLdr: value = IsX2Apic ? X2ApicLogicalId : _ldr; break;
            case RegDfr: value = _dfr; break;
            case RegSvr: value = _svr; break;
            case >= RegIsr and < RegTmr: value = _isr.Word(register - RegIsr); break;
            case >= RegTmr and < RegIrr: value = _tmr.Word(register - RegTmr); break;
            case >= RegIrr and < RegEsr: value = _irr.Word(register - RegIrr); break;
            case RegEsr: value = _esr; break;
            case RegIcr: value = (uint)_icr; break;
            case RegIcrHigh: value = (uint)(_icr >> 32); break;
            case >= RegLvtFirst and <= RegLvtLast: value = _lvt[register - RegLvtFirst]; break;
            case RegInitialCount: value = _initialCount; break;
            case RegCurrentCount: value = ReadCurrentCount(); break;
            case RegDivide: value = _divide; break;
            default: return false;
        }
        return true;
    }

    /// <summary>Writes the registers that are the same in both modes. False: there is no such writable register.</summary>
    private bool TryWriteCommon(int register, uint value)
    {
        switch (register)
        {
            case RegTpr:
                _tpr = (byte)value;
                Update();
                return true;
            case RegSvr:
                WriteSpuriousVector(value & SvrWritable);
                return true;
            case >= RegLvtFirst and <= RegLvtLast:
                WriteLocalVector(register - RegLvtFirst, value);
                return true;
            case RegInitialCount:
                WriteInitialCount(value);
                return true;
            case RegDivide:
                WriteDivide(value);
                return true;
            default:
                return false;
        }
    }

    private void WriteSpuriousVector(uint value)
    {
        _svr = value;
        if ((value & SvrEnable) == 0)
        {
            for (int i = 0; i < _lvt.Length; i++)
                _lvt[i] |= LvtMasked;
        }
        Update();
    }

    private void WriteLocalVector(int entry, uint value)
    {
        value &= LvtWritable[entry];
        if ((_svr & SvrEnable) == 0)
            value |= LvtMasked;
        if (entry == LvtTimer)
        {
            if (!_options.TscDeadline)
                value &= ~(1u << 18);
            WriteTimerVector(value);
        }
        else
        {
            uint remoteIrr = (value & LvtLevelTriggered) != 0 ? _lvt[entry] & LvtRemoteIrr : 0;
            _lvt[entry] = value | remoteIrr;
            if (entry is LvtLint0 or LvtLint1 && (value & (LvtModeMask | LvtLevelTriggered)) == LvtLevelTriggered)
                DriveLevelPin(entry, entry == LvtLint0 ? _lint0 : _lint1);
        }
        Update();
    }

    private void LatchErrors()
    {
        _esr = _errors;
        _errors = 0;
    }

    /// <summary>IA32_APIC_BASE: the legal mode changes are those of SDM vol. 3A, figure 11-26.</summary>
    private bool WriteBase(ulong value)
    {
        ulong reserved = 0x2FF | (ulong.MaxValue << _options.PhysicalAddressBits);
        if (!_options.X2Apic)
            reserved |= BaseX2Apic;
        const ulong ModeMask = BaseEnable | BaseX2Apic;
        ulong mode = value & ModeMask;
        if ((value & reserved) != 0 || mode == BaseX2Apic)
            return false;
        lock (_lock)
        {
            ulong before = _baseMsr & ModeMask;
            if (mode != before && ((before == ModeMask && mode == BaseEnable) || (before == 0 && mode == ModeMask)))
                return false;
            Volatile.Write(ref _baseMsr, value);
            if (mode == 0 && before != 0)
            {
                // Disabling loses the registers (11.4.3). The task priority stays, for CR8 goes on working.
                ResetRegisters();
                _xApicId = (byte)_id;
                _extIntLatched = false;
            }
            else if (mode == ModeMask && before == BaseEnable)
            {
                _icr = (uint)_icr; // "ICR_High is cleared" (11.12.5.2)
            }
            Update();
        }
        BaseChanged?.Invoke(this);
        return true;
    }
}
