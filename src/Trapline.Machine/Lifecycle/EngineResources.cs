using Trapline.Core;
using Trapline.Kvm;
using Trapline.Memory;

namespace Trapline.Machine;

/// <summary>What the engines of one board share, made by the first that needs it: the virtual machine in the host's kernel.</summary>
/// <param name="ioApicInputs">Of the board's I/O APIC.</param>
/// <param name="kernelLocalApics">The kernel has the local APICs, or the machine. Null: the kernel, where it can do all that the machine's can.</param>
public sealed class EngineResources(GuestMemory memory, int ioApicInputs, bool? kernelLocalApics) : IDisposable
{
    private readonly Lock _lock = new();
    private KvmVm? _kvm;

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
            bool kernels = kernelLocalApics ?? (KvmProbe.ProcessorHasHardware && device.ScalesTsc);
            return new KvmVm(device, memory, kernels ? ioApicInputs : 0);
        }
        catch (KvmException refusal)
        {
            throw new BadInputException($"engine 'kvm' cannot run here: {refusal.Message}");
        }
    }
}
