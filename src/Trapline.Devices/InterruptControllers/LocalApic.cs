using Trapline.Core;

namespace Trapline.Devices.InterruptControllers;

/// <summary>The local APIC of one vCPU, in xAPIC and x2APIC mode (SDM vol. 3A, chapter 11).</summary>
/// <remarks>
/// One file each for acceptance and priorities (here), registers, messages and pins, the timer, KVM's EOI by memory, and lending to an engine.
/// Lock order: this lock is the last of the interrupt room. While it is held only <see cref="IVcpuSignals"/> and
/// <see cref="IClockTimer"/> and the two TSC delegates are called, none of which may call back. The <see cref="ApicBus"/> is called with the lock released.
/// </remarks>
public sealed partial class LocalApic : IInterruptSource, ILentApic, IMmioDevice, ISavedDevice<LocalApicState>, IDisposable
{
    private const ulong BaseEnable = 1 << 11;
    private const ulong BaseX2Apic = 1 << 10;
    private const ulong BaseBootProcessor = 1 << 8;
    private const uint SvrEnable = 1 << 8;
    private const uint SvrSuppressEoiBroadcast = 1 << 12;

    private readonly Lock _lock = new();
    private readonly ApicBus _bus;
    private readonly LocalApicOptions _options;
    private readonly uint _id;
    private readonly bool _isBootProcessor;
    private readonly VectorSet _isr = new();
    private readonly VectorSet _tmr = new();
    private readonly VectorSet _irr = new();
    private readonly uint[] _lvt = new uint[6]; // timer, thermal, performance, LINT0, LINT1, error
    private IVcpuSignals _signals = NoSignals.Instance;

    // Written under the lock; read without it by the bus and by the vCPU.
    private volatile bool _pending;
    private ulong _baseMsr;
    private volatile uint _ldr, _dfr, _svr;
    private volatile byte _xApicId, _tpr;

    private uint _esr, _errors;
    private ulong _icr;
    private bool _lint0, _lint1, _extIntLatched;

    /// <param name="bus">Where IPIs go; the new APIC attaches itself.</param>
    /// <param name="id">The (x2)APIC id.</param>
    /// <param name="isBootProcessor">Sets IA32_APIC_BASE.BSP.</param>
    /// <param name="clock">Time of the count-down timer.</param>
    /// <param name="tsc">This vCPU's time-stamp counter, IA32_TSC_ADJUST included.</param>
    /// <param name="tscToNanoseconds">The clock's time at which <paramref name="tsc"/> reaches a value.</param>
    public LocalApic(ApicBus bus, uint id, bool isBootProcessor, IGuestClock clock, Func<ulong> tsc, Func<ulong, long> tscToNanoseconds,
        LocalApicOptions? options = null)
    {
        _bus = bus;
        _id = id;
        _isBootProcessor = isBootProcessor;
        _clock = clock;
        _tsc = tsc;
        _tscToNanoseconds = tscToNanoseconds;
        _options = options ?? new LocalApicOptions();
        _timer = clock.CreateTimer(OnTimer);
        Lint0 = new Pin(this, 0);
        Lint1 = new Pin(this, 1);
        Reset();
        bus.Attach(this);
    }

    /// <summary>The INTR pin, driven by the 8259 pair on the boot processor.</summary>
    public InterruptLine Lint0 { get; }

    /// <summary>The NMI pin.</summary>
    public InterruptLine Lint1 { get; }

    /// <inheritdoc/>
    public bool Pending => _pending;

    /// <summary>IA32_APIC_BASE.EN: what CPUID.1:EDX.APIC shows.</summary>
    public bool Enabled => (Volatile.Read(ref _baseMsr) & BaseEnable) != 0;

    /// <summary>The APIC is in x2APIC mode: MSRs work and the MMIO page does not.</summary>
    public bool IsX2Apic => (Volatile.Read(ref _baseMsr) & BaseX2Apic) != 0;

    /// <summary>Where the MMIO page is now; it answers only while <see cref="Enabled"/> and not <see cref="IsX2Apic"/>.</summary>
    public Gpa MmioBase => new(Volatile.Read(ref _baseMsr) & ~0xFFFul);

    /// <summary>Raised on the vCPU's thread, without the lock, after a write changed IA32_APIC_BASE (move the page, refresh CPUID).</summary>
    public event Action<LocalApic>? BaseChanged;

    internal bool SoftwareEnabled => Enabled && (_svr & SvrEnable) != 0;

    internal int ArbitrationPriority
    {
        get
        {
            lock (_lock)
                return ProcessorPriority();
        }
    }

    /// <summary>Names the vCPU that this APIC signals.</summary>
    public void Connect(IVcpuSignals signals) => _signals = signals;

    /// <summary>Power-up or RESET# state.</summary>
    public void Reset()
    {
        lock (_lock)
        {
            Volatile.Write(ref _baseMsr, 0xFEE0_0000 | BaseEnable | (_isBootProcessor ? BaseBootProcessor : 0));
            _xApicId = (byte)_id;
            _tpr = 0;
            _eoiMsr = 0;
            ResetRegisters();
            _extIntLatched = false;
            Update();
        }
    }

    /// <summary>What INIT does: like power-up, but mode, base and id stay (SDM vol. 3A, 11.4.7.3). Delivered INITs do it themselves.</summary>
    public void InitReset()
    {
        lock (_lock)
            InitResetLocked();
    }

    private void InitResetLocked()
    {
        _tpr = 0;
        _eoiMsr = 0;
        ResetRegisters();
        _extIntLatched = false;
        Update();
    }

    private void ResetRegisters()
    {
        _isr.Clear();
        _tmr.Clear();
        _irr.Clear();
        _dfr = 0xFFFF_FFFF;
        _ldr = 0;
        _svr = 0xFF;
        _esr = _errors = 0;
        _icr = 0;
        _eoiOffered = false;
        Array.Fill(_lvt, LvtMasked);
        ResetTimer();
    }

    /// <inheritdoc/>
    public int Acknowledge()
    {
        CollectEoi();
        int vector;
        bool fromPic;
        lock (_lock)
        {
            fromPic = ExtIntPending;
            vector = fromPic ? -1 : Deliverable();
            if (fromPic)
            {
                _extIntLatched = false;
            }
            else if (vector >= 0)
            {
                _irr.Remove((byte)vector);
                _isr.Add((byte)vector);
                _eoiOffered = MayOfferEoi((byte)vector);
            }
            Update();
        }
        if (fromPic)
            return _bus.AcknowledgePic();
        if (_eoiOffered)
            OfferEoi();
        return vector;
    }

    /// <summary>The processor priority register: the higher class of the task's and of what is in service.</summary>
    private int ProcessorPriority()
    {
        int serving = _isr.Highest;
        int task = _tpr;
        return serving < 0 || (task & 0xF0) >= (serving & 0xF0) ? task : serving & 0xF0;
    }

    private int ArbitrationRegister()
    {
        int task = _tpr & 0xF0;
        int serving = Math.Max(_isr.Highest, 0) & 0xF0;
        int requested = Math.Max(_irr.Highest, 0) & 0xF0;
        return task >= requested && task > serving ? _tpr : Math.Max(Math.Max(task, serving), requested);
    }

    private int Deliverable()
    {
        if (!Enabled || _keeper != null)
            return -1;
        int vector = _irr.Highest;
        return vector >= 0 && (vector & 0xF0) > (ProcessorPriority() & 0xF0) ? vector : -1;
    }

    /// <summary>Whether a lent local APIC lets the pin through is for its keeper to know.</summary>
    private bool ExtIntPending => _extIntLatched
        || (_lint0 && (_keeper != null || !Enabled || (_lvt[LvtLint0] & (LvtMasked | LvtModeMask)) == LvtModeExtInt));

    /// <summary>Recomputes <see cref="Pending"/> and tells the vCPU if there is something to take.</summary>
    private void Update()
    {
        // Where the guest may have ended its interrupt without a word, whoever acknowledges finds out.
        bool pending = ExtIntPending || Deliverable() >= 0 || (_eoiOffered && Enabled && _irr.Highest >= 0);
        _pending = pending;
        if (pending)
            _signals.InterruptPending();
    }

    private void EndOfInterrupt(out int broadcast)
    {
        broadcast = -1;
        int vector = _isr.Highest;
        if (vector < 0)
            return;
        _isr.Remove((byte)vector);
        if (_tmr.Contains((byte)vector))
        {
            LocalEndOfInterrupt((byte)vector);
            if ((_svr & SvrSuppressEoiBroadcast) == 0)
                broadcast = vector;
        }
        Update();
    }

    public LocalApicState Save()
    {
        CollectEoi();
        ApicRegisters? lent = _keeper?.Read();
        lock (_lock)
        {
            if (lent != null)
                SetRegisters(lent);
            return new LocalApicState(_baseMsr, _xApicId, _ldr, _dfr, _svr, _tpr, _isr.Save(), _tmr.Save(), _irr.Save(), _esr, _errors,
                (uint[])_lvt.Clone(), _icr, _lint0, _lint1, _extIntLatched,
                _initialCount, _divide, _running, _deadline, _heldCount, _tscDeadline);
        }
    }

    public void Restore(LocalApicState s)
    {
        ApicRegisters registers;
        lock (_lock)
        {
            _eoiOffered = false;
            Volatile.Write(ref _baseMsr, s.BaseMsr);
            (_xApicId, _ldr, _dfr, _svr, _tpr) =
                (s.XApicId, s.LogicalDestination, s.DestinationFormat, s.SpuriousVector, s.TaskPriority);
            _isr.Restore(s.InService);
            _tmr.Restore(s.TriggerMode);
            _irr.Restore(s.Requests);
            (_esr, _errors, _icr) = (s.ErrorStatus, s.ErrorPending, s.Icr);
            Array.Copy(s.LocalVectors, _lvt, Math.Min(s.LocalVectors.Length, _lvt.Length));
            (_lint0, _lint1, _extIntLatched) = (s.Lint0, s.Lint1, s.ExtIntLatched);
            (_initialCount, _divide, _running, _deadline) = (s.InitialCount, s.DivideConfiguration, s.TimerRunning, s.TimerDeadline);
            (_heldCount, _tscDeadline) = (s.TimerHeldCount, s.TscDeadline);
            registers = GetRegisters();
            ArmTimer();
            Update();
        }
        _keeper?.Write(registers);
        BaseChanged?.Invoke(this);
    }

    public void Dispose() => _timer.Dispose();

    private sealed class NoSignals : IVcpuSignals
    {
        public static readonly NoSignals Instance = new();
        public void InterruptPending() { }
        public void NonMaskableInterrupt() { }
        public void Init() { }
        public void StartUp(byte vector) { }
    }
}
