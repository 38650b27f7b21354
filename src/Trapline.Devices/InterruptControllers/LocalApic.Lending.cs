using Trapline.Core;

namespace Trapline.Devices.InterruptControllers;

// While an engine keeps the registers (a kernel's local APIC), what is here is as old as the lending; only the pins go on.
public sealed partial class LocalApic
{
    private const int LvtMachineCheck = 0x2F;

    private volatile IApicKeeper? _keeper;

    /// <summary>Who has the registers; null: they are here.</summary>
    internal IApicKeeper? Keeper => _keeper;

    public void Lend(IApicKeeper keeper)
    {
        CollectEoi();
        _bus.Move(() =>
        {
            ApicRegisters registers;
            lock (_lock)
            {
                registers = GetRegisters();
                _keeper = keeper;
                _timer.Disarm();
                Update();
            }
            keeper.Write(registers);
        });
    }

    public void TakeBack()
    {
        if (_keeper is not { } keeper)
            return;
        _bus.Move(() =>
        {
            ApicRegisters registers = keeper.Read();
            lock (_lock)
            {
                SetRegisters(registers);
                _keeper = null;
                ArmTimer();
                Update();
            }
        });
        BaseChanged?.Invoke(this);
    }

    void ILentApic.EndOfInterrupt(byte vector) => _bus.BroadcastEoi(vector);

    private ApicRegisters GetRegisters()
    {
        uint[] page = new uint[ApicRegisters.Words];
        for (int register = 0; register < page.Length; register++)
            TryRead(register, out page[register]);
        page[LvtMachineCheck] = LvtMasked; // there is none here, and there may be one there
        return new ApicRegisters(page, _baseMsr, _tscDeadline);
    }

    private void SetRegisters(ApicRegisters registers)
    {
        uint[] page = registers.Page;
        Volatile.Write(ref _baseMsr, registers.Base);
        if (!IsX2Apic)
            (_xApicId, _ldr, _dfr) = ((byte)(page[RegId] >> 24), page[RegLdr], page[RegDfr]);
        (_tpr, _svr, _esr) = ((byte)page[RegTpr], page[RegSvr] & (SvrWritable | SvrEnable), page[RegEsr]);
        _icr = page[RegIcr] & ~0x1000u | (ulong)page[RegIcrHigh] << 32;
        _isr.Restore(page[RegIsr..RegTmr]);
        _tmr.Restore(page[RegTmr..RegIrr]);
        _irr.Restore(page[RegIrr..RegEsr]);
        for (int entry = 0; entry < _lvt.Length; entry++)
            _lvt[entry] = page[RegLvtFirst + entry] & (LvtWritable[entry] | LvtRemoteIrr);
        _divide = page[RegDivide];
        _initialCount = page[RegInitialCount];
        _tscDeadline = registers.TscDeadline;
        uint left = page[RegCurrentCount];
        _running = Mode != TimerMode.TscDeadline && left != 0;
        _heldCount = _running ? 0 : left;
        _deadline = _clock.Nanoseconds + ToNanoseconds(left);
        _notBefore = 0;
    }
}
