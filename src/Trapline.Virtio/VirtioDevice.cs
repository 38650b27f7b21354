using System.Runtime.InteropServices;
using Trapline.Core;
using Trapline.Memory;
using Trapline.Virtio.Queues;

namespace Trapline.Virtio;

/// <summary>State that all virtio devices share.</summary>
[SavedState("virtio-device", 1)]
public sealed record VirtioDeviceState(int Status, bool IsLegacy, ulong Features, byte ConfigGeneration, VirtQueueState[] Queues);

/// <summary>A virtio device without its transport: features, status, queues, and workers that serve them (virtio 1.2, 2 and 3).</summary>
/// <remarks>
/// Registers are a vCPU's affair, under the transport's lock; requests are the workers', who are inside the <see cref="WorkGate"/> while they touch
/// guest memory. A reset closes the gate and happens when the last worker has left, so that none writes into memory that the driver has taken
/// back. A driver that breaks the rules gets DEVICE_NEEDS_RESET (2.1.1), and nothing more is served until it obeys.
/// </remarks>
public abstract class VirtioDevice : IDisposable, ISavedDevice<VirtioDeviceState>
{
    /// <summary>No MSI-X vector (4.1.5.1.2.1).</summary>
    internal const ushort NoVector = 0xFFFF;

    private readonly WorkGate _gate = new();
    private readonly DeviceWorkers _workers;
    private readonly VirtQueue[] _queues;
    private IVirtioTransport _transport = DetachedTransport.Instance;
    private ulong _queueResets;
    private int _status;
    private bool _resetPending;
    private bool _isRunning;
    private volatile bool _serving;

    /// <param name="name">Of the worker threads, for people.</param>
    /// <param name="type">Device type (virtio 1.2, 5).</param>
    /// <param name="queueSizes">Largest size of each queue: powers of two.</param>
    /// <param name="workers">Threads that serve the queues.</param>
    protected VirtioDevice(string name, ushort type, GuestMemory memory, ReadOnlySpan<ushort> queueSizes, int workers = 1)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(queueSizes.Length, 64);
        (Name, Type, Memory) = (name, type, memory);
        _queues = new VirtQueue[queueSizes.Length];
        for (int i = 0; i < queueSizes.Length; i++)
            _queues[i] = new VirtQueue(this, memory, i, queueSizes[i]);
        _workers = new DeviceWorkers(name, workers, queueSizes.Length, ServeInside);
        _gate.Close(); // until the machine runs
    }

    public string Name { get; }

    public ushort Type { get; }

    protected GuestMemory Memory { get; }

    public IReadOnlyList<VirtQueue> Queues => _queues;

    /// <summary>Feature bits of the device type.</summary>
    protected abstract ulong DeviceFeatures { get; }

    /// <summary>The driver's choice goes together: bits that need others have them.</summary>
    protected virtual bool Accepts(ulong features) => true;

    /// <summary>Serves the named queues until they are empty, on one of the device's threads. Requests that cannot be done get an error; nothing is thrown.</summary>
    protected abstract void Serve(int worker, ulong queues);

    /// <summary>The driver is ready (DRIVER_OK). Under the register lock.</summary>
    protected virtual void OnStart() { }

    /// <summary>Back to the state after power-on. No worker is inside.</summary>
    protected virtual void OnReset() { }

    /// <summary>Reads the device's configuration space; zeroes beyond its end. Under the register lock.</summary>
    public virtual void ReadConfig(int offset, Span<byte> destination) => destination.Clear();

    /// <summary>Writes the device's configuration space. Under the register lock.</summary>
    public virtual void WriteConfig(int offset, ReadOnlySpan<byte> source) { }

    /// <summary>All feature bits on offer.</summary>
    internal ulong OfferedFeatures => VirtioFeatures.Common | DeviceFeatures;

    /// <summary>What the driver accepted.</summary>
    public ulong Features { get; private set; }

    public bool Has(ulong feature) => (Features & feature) != 0;

    /// <summary>The driver speaks the legacy interface (2.2.3).</summary>
    public bool IsLegacy { get; private set; }

    /// <summary>Changes whenever the configuration space does (2.5.1).</summary>
    internal byte ConfigGeneration { get; private set; }

    /// <summary>Requests may be taken: the driver is ready and obeyed the rules, and nobody wants the device to stand.</summary>
    internal bool IsServing => _serving && !_gate.IsClosed;

    internal VirtioStatus Status => (VirtioStatus)Volatile.Read(ref _status);

    /// <summary>A worker failed for a reason of ours: the device needs a reset now. On the worker's thread, at most once until that reset.</summary>
    public Action<VirtioDevice, Exception>? Faulted { get; set; }

    internal void Attach(IVirtioTransport transport) => _transport = transport;

    /// <summary>The driver says that a queue has something. Does not wait.</summary>
    internal void Notify(int queue)
    {
        if ((uint)queue < (uint)_queues.Length && _serving)
            _workers.Notify(1ul << queue);
    }

    /// <summary>An eventfd that does what <see cref="Notify"/> does; a bell for a device without a driver wakes a worker for nothing.</summary>
    internal SafeHandle Bell(int queue) => _workers.Bell(queue);

    /// <summary>Has a worker look at queues, for the device's own reasons.</summary>
    protected void Wake(ulong queues)
    {
        if (_serving)
            _workers.Notify(queues);
    }

    internal void InterruptQueue(VirtQueue queue) => _transport.InterruptQueue(queue);

    /// <summary>Tells the driver that the configuration space changed.</summary>
    protected void ConfigChanged()
    {
        lock (_transport.Registers)
            ConfigGeneration++;
        if (_serving)
            _transport.InterruptConfiguration();
    }

    /// <summary>The driver broke the rules: nothing is served until it resets the device.</summary>
    internal void Break()
    {
        _serving = false;
        int before = Interlocked.Or(ref _status, (int)VirtioStatus.NeedsReset);
        if ((before & (int)(VirtioStatus.NeedsReset | VirtioStatus.DriverOk)) == (int)VirtioStatus.DriverOk)
            _transport.InterruptConfiguration();
    }

    /// <summary>Feature bits from the driver; ignored once it said that it was done (3.1.1).</summary>
    internal void WriteFeatures(ulong features, bool legacy)
    {
        if ((Status & (VirtioStatus.FeaturesOk | VirtioStatus.DriverOk)) == 0)
            (Features, IsLegacy) = (features, legacy);
    }

    /// <summary>The status field as the driver writes it (2.1, 3.1.1). Under the register lock; a reset may still be under way when this returns.</summary>
    internal void WriteStatus(byte value)
    {
        if (value == 0)
        {
            RequestReset();
            return;
        }
        if (_resetPending)
            return;
        VirtioStatus added = (VirtioStatus)value & ~Status;
        if ((added & VirtioStatus.FeaturesOk) != 0 && !IsAcceptable(Features))
            value &= unchecked((byte)~(int)VirtioStatus.FeaturesOk);
        value &= unchecked((byte)~(int)VirtioStatus.NeedsReset);
        Interlocked.Or(ref _status, value);
        if ((added & VirtioStatus.DriverOk) == 0 || (Status & VirtioStatus.NeedsReset) != 0)
            return;
        if (IsLegacy || (Status & VirtioStatus.FeaturesOk) != 0)
            Start();
    }

    private bool IsAcceptable(ulong features) =>
        (features & ~OfferedFeatures) == 0 && (features & VirtioFeatures.Version1) != 0 && Accepts(features);

    private void Start()
    {
        if (IsLegacy)
            Features &= OfferedFeatures & VirtioFeatures.LegacyBits;
        OnStart();
        _serving = true;
        NotifyAll();
    }

    private void NotifyAll()
    {
        if (_serving && _queues.Length > 0)
            _workers.Notify(ulong.MaxValue >> (64 - _queues.Length));
    }

    /// <summary>Enables a queue; one that is none breaks the device. Under the register lock.</summary>
    internal void EnableQueue(VirtQueue queue)
    {
        if (queue.Enabled || IsResetting(queue) || _resetPending)
            return;
        if (!queue.TryEnable(Features))
            Break();
        else if (_serving)
            _workers.Notify(1ul << queue.Index);
    }

    internal void RequestReset()
    {
        _serving = false;
        bool isFirst = !_resetPending && _queueResets == 0;
        _resetPending = true;
        if (isFirst)
            _gate.Close();
        FinishResetsIfEmpty();
    }

    /// <summary>Resets one queue (2.6.1); it shows that it is being reset until done.</summary>
    internal void RequestQueueReset(VirtQueue queue)
    {
        bool isFirst = !_resetPending && _queueResets == 0;
        _queueResets |= 1ul << queue.Index;
        if (isFirst)
            _gate.Close();
        FinishResetsIfEmpty();
    }

    internal bool IsResetting(VirtQueue queue) => (_queueResets & (1ul << queue.Index)) != 0;

    private void FinishResetsIfEmpty()
    {
        if (_gate.IsEmpty)
            FinishResets();
    }

    /// <summary>For drivers that do not wait for the end of a reset: legacy and MMIO ones. Without the register lock.</summary>
    internal void WaitForResets()
    {
        lock (_transport.Registers)
        {
            if (!_resetPending && _queueResets == 0)
                return;
        }
        _gate.WaitUntilEmpty();
        FinishResets();
    }

    /// <summary>Does the resets that were asked for. Nobody is inside the gate, and it is closed.</summary>
    private void FinishResets()
    {
        lock (_transport.Registers)
        {
            if (!_resetPending && _queueResets == 0)
                return;
            foreach (VirtQueue queue in _queues)
            {
                if (_resetPending || IsResetting(queue))
                    queue.Reset();
            }
            if (_resetPending)
            {
                Volatile.Write(ref _status, 0);
                (Features, IsLegacy) = (0, false);
                _transport.WasReset();
                OnReset();
            }
            (_resetPending, _queueResets) = (false, 0);
        }
        if (_gate.Open())
            NotifyAll();
    }

    private void ServeInside(int worker, ulong queues)
    {
        if (!_gate.TryEnter())
            return; // opening names all queues again
        try
        {
            if (_serving)
                Serve(worker, queues);
        }
        catch (Exception fault) when (fault is not OutOfMemoryException)
        {
            // A fault of ours must end neither the other machines of this process nor this one.
            Break();
            Faulted?.Invoke(this, fault);
        }
        finally
        {
            Leave();
        }
    }

    /// <summary>Lets a thread that is none of the device's touch queues, until <see cref="Leave"/>; false if the device stands or no driver is ready.</summary>
    protected bool TryEnter()
    {
        if (!_serving || !_gate.TryEnter())
            return false;
        if (_serving)
            return true;
        Leave();
        return false;
    }

    /// <summary>The driver is ready and obeys the rules, whether or not the device stands.</summary>
    protected bool HasDriver => _serving;

    protected void Leave()
    {
        if (_gate.Leave())
            FinishResets();
    }

    /// <summary>Lets the workers serve: the machine runs.</summary>
    public void Run()
    {
        if (_isRunning)
            return;
        _isRunning = true;
        OnRun();
        if (_gate.Open())
            NotifyAll();
    }

    /// <summary>Has the workers stand; none is inside when this returns. The machine is paused.</summary>
    public void Stand()
    {
        if (!_isRunning)
            return;
        _isRunning = false;
        _gate.Close();
        _gate.WaitUntilEmpty();
        FinishResets();
        OnStand();
    }

    /// <summary>The machine begins to run.</summary>
    protected virtual void OnRun() { }

    /// <summary>The machine stands, and so do the workers.</summary>
    protected virtual void OnStand() { }

    public VirtioDeviceState Save() => new((int)Status, IsLegacy, Features, ConfigGeneration, [.. _queues.Select(q => q.Save())]);

    /// <exception cref="ArgumentException">The state is not one of such a device.</exception>
    public void Restore(VirtioDeviceState state)
    {
        if (state.Queues.Length != _queues.Length)
            throw new ArgumentException($"{state.Queues.Length} queues instead of {_queues.Length}", nameof(state));
        if ((state.Features & ~OfferedFeatures) != 0)
            throw new ArgumentException($"features 0x{state.Features & ~OfferedFeatures:x}, which this device does not offer", nameof(state));
        (Features, IsLegacy, ConfigGeneration, _status) = (state.Features, state.IsLegacy, state.ConfigGeneration, state.Status & 0xFF);
        for (int i = 0; i < _queues.Length; i++)
            _queues[i].Restore(state.Queues[i], state.Features);
        if ((Status & VirtioStatus.DriverOk) == 0)
            return;
        OnStart();
        _serving = (Status & VirtioStatus.NeedsReset) == 0 && (IsLegacy || (Status & VirtioStatus.FeaturesOk) != 0);
    }

    /// <summary>Ends the workers. The memory must still be there.</summary>
    public virtual void Dispose()
    {
        Stand();
        _workers.Dispose();
        GC.SuppressFinalize(this);
    }
}
