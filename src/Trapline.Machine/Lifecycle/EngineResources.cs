using Trapline.Core;
using Trapline.Kvm;
using Trapline.Memory;

namespace Trapline.Machine;

/// <summary>What the engines of one board share, made by the first that needs it: the virtual machine in the host's kernel.</summary>
public sealed class EngineResources(GuestMemory memory) : IDisposable
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
            return new KvmVm(device, memory);
        }
        catch (KvmException refusal)
        {
            throw new BadInputException($"engine 'kvm' cannot run here: {refusal.Message}");
        }
    }
}
