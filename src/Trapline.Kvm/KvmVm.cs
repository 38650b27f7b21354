using Trapline.Core;
using Trapline.Kvm.Abi;
using Trapline.Memory;

namespace Trapline.Kvm;

/// <summary>A virtual machine in the host's kernel: memory slots and the settings that all its vCPUs share.</summary>
/// <remarks>
/// Two set-ups of interrupts: all controllers are the machine's, and each interrupt is handed to the kernel; or the local APICs are the kernel's, which
/// then needs nobody for IPIs, timers and HLT, and the 8259 pair and I/O APIC are the machine's ("split", api.rst 7.5). Unsafe for the ioctls' arguments alone.
/// </remarks>
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
    /// <param name="ioApicInputs">Of the machine's I/O APIC, if the kernel is to have local APICs where it can; 0: all controllers are the machine's.</param>
    /// <exception cref="KvmException">The host refused.</exception>
    public KvmVm(KvmDevice device, GuestMemory memory, int ioApicInputs = 0)
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
            HasLocalApics = ioApicInputs > 0 && device.Check(KvmCapability.SignalMsi) != 0 && Enable(KvmCapability.SplitIrqchip, (ulong)ioApicInputs);
            if (HasLocalApics && !Enable(KvmCapability.X2ApicApi, (ulong)(KvmX2Apic.WideIds | KvmX2Apic.NoBroadcastQuirk)))
                throw new KvmException("KVM_ENABLE_CAP (wide x2APIC ids)", 0);
            MsrFilter.Install(_descriptor, apics: !HasLocalApics);
            _slots = new KvmMemorySlots(_descriptor, memory);
            if (device.Check(KvmCapability.IoEvent) != 0)
                Doorbells = new KvmDoorbells(_descriptor, device.Check(KvmCapability.IoEventAnyLength) != 0);
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

    /// <summary>Local APICs are the kernel's.</summary>
    public bool HasLocalApics { get; }

    /// <summary>Answers doorbells without an exit; null if this kernel does not.</summary>
    public IDoorbellKeeper? Doorbells { get; }

    /// <summary>Sends a message to the kernel's local APICs. False if none took it.</summary>
    internal bool Deliver(MsiMessage message)
    {
        KvmMsi msi = new() { AddressLow = (uint)message.Address, AddressHigh = (uint)(message.Address >> 32), Data = message.Data };
        return KvmCalls.Control(_descriptor, KvmRequest.SignalMsi, &msi) > 0;
    }

    /// <summary>Level-triggered vectors among these leave the kernel at their EOI.</summary>
    internal void WatchEnds(ReadOnlySpan<MsiMessage?> inputs)
    {
        byte[] buffer = new byte[KvmMsiRoute.HeaderSize + (inputs.Length * sizeof(KvmMsiRoute))];
        fixed (byte* list = buffer)
        {
            uint count = 0;
            KvmMsiRoute* routes = (KvmMsiRoute*)(list + KvmMsiRoute.HeaderSize);
            for (int input = 0; input < inputs.Length; input++)
            {
                if (inputs[input] is not { } message)
                    continue;
                routes[count++] = new KvmMsiRoute
                {
                    Input = (uint)input, Type = KvmMsiRoute.IsMsi,
                    AddressLow = (uint)message.Address, AddressHigh = (uint)(message.Address >> 32), Data = message.Data,
                };
            }
            *(uint*)list = count;
            KvmCalls.Require(_descriptor, KvmRequest.SetGsiRouting, list, "KVM_SET_GSI_ROUTING");
        }
    }

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
