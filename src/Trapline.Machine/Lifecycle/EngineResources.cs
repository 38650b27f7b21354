using Trapline.Core;
using Trapline.Kvm;
using Trapline.Memory;

namespace Trapline.Machine;

/// <summary>What the engines of one board share, made by the first that needs it: the virtual machine in the host's kernel.</summary>
public sealed class EngineResources : IDisposable
{
    private readonly GuestMemory _memory;
    private readonly int _ioApicInputs;
    private readonly bool? _kernelLocalApics;
    private readonly DoorbellMap? _doorbells;
    private readonly Lock _lock = new();
    private KvmVm? _kvm;

    /// <param name="ioApicInputs">Of the board's I/O APIC.</param>
    /// <param name="kernelLocalApics">The kernel has the local APICs, or the machine. Null: the kernel, where it can do all that the machine's can.</param>
    /// <param name="doorbells">Of the board's devices, which the kernel may answer; null: it may not.</param>
    internal EngineResources(GuestMemory memory, int ioApicInputs, bool? kernelLocalApics, DoorbellMap? doorbells) =>
        (_memory, _ioApicInputs, _kernelLocalApics, _doorbells) = (memory, ioApicInputs, kernelLocalApics, doorbells);

    /// <exception cref="BadInputException">This host has no usable KVM; the message says why and what to do.</exception>
    public KvmVm Kvm
    {
        get
        {
            lock (_lock)
                return _kvm ??= OpenKvm();
        }
    }

    /// <summary>After the engines, before memory.</summary>
    public void Dispose() => _kvm?.Dispose();

    private KvmVm OpenKvm()
    {
        try
        {
            KvmDevice device = KvmDevice.TryOpen(out string? obstacle) ?? throw new BadInputException($"engine 'kvm' cannot run here: {obstacle}");
            // A kernel that emulates for want of hardware (kvm-pvm) was seen to keep the ends of level-triggered interrupts to itself; and where the
            // counter has another rate, it has no deadlines by the model's.
            bool kernels = _kernelLocalApics ?? (KvmProbe.ProcessorHasHardware && device.ScalesTsc);
            KvmVm machine = new(device, _memory, kernels ? _ioApicInputs : 0);
            if (machine.Doorbells is { } keeper)
                _doorbells?.Attach(keeper);
            return machine;
        }
        catch (KvmException refusal)
        {
            throw new BadInputException($"engine 'kvm' cannot run here: {refusal.Message}");
        }
    }
}
