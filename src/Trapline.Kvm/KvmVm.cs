using Trapline.Kvm.Abi;
using Trapline.Memory;

namespace Trapline.Kvm;

/// <summary>A virtual machine in the host's kernel: memory slots and the settings that all its vCPUs share.</summary>
/// <remarks>All interrupt controllers are ours: the kernel has none for this machine. Unsafe for the ioctls' arguments alone.</remarks>
public sealed unsafe class KvmVm : IDisposable
{
    // A hole of the memory map that the kernel needs on Intel processors without unrestricted guests (api.rst 4.36, 4.61).
    private const ulong IdentityMapAddress = 0xFEFF_C000;
    private const ulong TssAddress = 0xFEFF_D000;

    /// <summary>KVM_MSR_EXIT_REASON_INVAL, _UNKNOWN and _FILTER: what is not the kernel's comes to us.</summary>
    private const ulong EveryForeignMsr = 1 | 2 | 4;
    private const ulong DisablePmu = 1;

    private readonly KvmMemorySlots _slots;
    private readonly int _descriptor;
    private readonly Dictionary<int, int> _vcpus = [];
    private bool _disposed;

    /// <param name="device">Owned by the virtual machine from now on.</param>
    /// <param name="memory">Must outlive the virtual machine.</param>
    /// <exception cref="KvmException">The host refused.</exception>
    public KvmVm(KvmDevice device, GuestMemory memory)
    {
        Device = device;
        try
        {
            _descriptor = device.CreateVm();
            if (device.Check(KvmCapability.SetIdentityMapAddress) != 0)
            {
                ulong address = IdentityMapAddress;
                KvmCalls.Require(_descriptor, KvmRequest.SetIdentityMapAddress, &address, "KVM_SET_IDENTITY_MAP_ADDR");
            }
            if (device.Check(KvmCapability.SetTssAddress) != 0)
                KvmCalls.Require(_descriptor, KvmRequest.SetTssAddress, TssAddress, "KVM_SET_TSS_ADDR");
            HasExceptionPayload = Enable(KvmCapability.ExceptionPayload, 1);
            Enable(KvmCapability.ExitOnEmulationFailure, 1);
            Enable(KvmCapability.PmuCapability, DisablePmu);
            if (!Enable(KvmCapability.UserSpaceMsr, EveryForeignMsr))
                throw new KvmException("KVM_ENABLE_CAP (MSRs in user space)", 0);
            MsrFilter.Install(_descriptor);
            _slots = new KvmMemorySlots(_descriptor, memory);
        }
        catch
        {
            if (_descriptor > 0)
                KvmCalls.Close(_descriptor);
            device.Dispose();
            throw;
        }
    }

    internal KvmDevice Device { get; }

    /// <summary>Pending debug exceptions can be told apart (api.rst 7.20).</summary>
    internal bool HasExceptionPayload { get; }

    /// <summary>The vCPU of this number, made if there is none yet: the kernel keeps one as long as its machine, so engines that follow each other share it.</summary>
    /// <param name="cpuid">What it answers to CPUID, by its descriptor. The kernel takes it once, before the vCPU runs.</param>
    /// <returns>Its descriptor, which stays the virtual machine's.</returns>
    internal int GetVcpu(int index, Func<int, KvmCpuidEntry[]> cpuid)
    {
        lock (_vcpus)
        {
            if (_vcpus.TryGetValue(index, out int descriptor))
                return descriptor;
            descriptor = KvmCalls.Require(_descriptor, KvmRequest.CreateVcpu, (ulong)index, "KVM_CREATE_VCPU");
            _vcpus[index] = descriptor;
            GuestCpuid.Install(descriptor, cpuid(descriptor));
            return descriptor;
        }
    }

    /// <summary>After the vCPUs, and before memory.</summary>
    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        _slots.Dispose();
        foreach (int vcpu in _vcpus.Values)
            KvmCalls.Close(vcpu);
        KvmCalls.Close(_descriptor);
        Device.Dispose();
    }

    private bool Enable(KvmCapability capability, ulong argument)
    {
        if (Device.Check(capability) == 0)
            return false;
        KvmEnableCapability enable = new() { Capability = (uint)capability };
        enable.Arguments[0] = argument;
        return KvmCalls.Control(_descriptor, KvmRequest.EnableCapability, &enable) >= 0;
    }
}
