using System.Runtime.InteropServices;
using Trapline.Kvm.Abi;

namespace Trapline.Kvm;

/// <summary>/dev/kvm: what the host's KVM can do, and where virtual machines come from (Documentation/virt/kvm/api.rst 4.1 to 4.6).</summary>
/// <remarks>Unsafe for the ioctls' arguments alone, which are locals or arrays that are pinned during the call.</remarks>
public sealed unsafe class KvmDevice : IDisposable
{
    public const string Path = "/dev/kvm";

    /// <summary>The only version there will be (api.rst 4.1).</summary>
    private const int ApiVersion = 12;

    private readonly int _descriptor;
    private bool _disposed;

    private KvmDevice(int descriptor)
    {
        _descriptor = descriptor;
        RunPagesLength = (ulong)KvmCalls.Require(descriptor, KvmRequest.GetVcpuMmapSize, 0ul, "KVM_GET_VCPU_MMAP_SIZE");
        SupportedCpuid = ReadCpuid();
        MsrIndices = ReadMsrIndices();
    }

    /// <summary>Bytes that a vCPU shares with us: the run page and what follows it.</summary>
    internal ulong RunPagesLength { get; }

    /// <summary>What CPUID may say at most.</summary>
    internal KvmCpuidEntry[] SupportedCpuid { get; }

    /// <summary>The MSRs that are part of a vCPU's state.</summary>
    internal uint[] MsrIndices { get; }

    /// <summary>A guest's time-stamp counter can have another rate than the host's.</summary>
    public bool ScalesTsc => Check(KvmCapability.TscControl) != 0;

    /// <summary>Opens the device; null: <paramref name="obstacle"/> says in one line why KVM cannot be used and what to do.</summary>
    public static KvmDevice? TryOpen(out string? obstacle)
    {
        obstacle = null;
        int descriptor = KvmCalls.Open(Path);
        if (descriptor < 0)
        {
            obstacle = File.Exists(Path)
                ? $"{Path} cannot be opened ({KvmCalls.LastError}): join the group that owns it"
                : $"there is no {Path}: load the kernel's kvm module, or enable virtualization in the firmware or in the virtual machine around this one";
            return null;
        }
        obstacle = Lacks(descriptor);
        if (obstacle == null)
            return new KvmDevice(descriptor);
        KvmCalls.Close(descriptor);
        return null;
    }

    /// <summary>Makes a virtual machine without memory or vCPUs.</summary>
    internal int CreateVm()
    {
        for (; ; )
        {
            int descriptor = KvmCalls.Control(_descriptor, KvmRequest.CreateVm, null);
            if (descriptor >= 0)
                return descriptor;
            // Interrupted while it waited for the kernel's own bookkeeping.
            int error = Marshal.GetLastPInvokeError();
            if (error != KvmCalls.Eintr)
                throw new KvmException("KVM_CREATE_VM", error);
        }
    }

    /// <summary>0: not offered; else 1, or a size or mask that belongs to the capability.</summary>
    internal int Check(KvmCapability capability) => Check(_descriptor, capability);

    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        KvmCalls.Close(_descriptor);
    }

    private static int Check(int descriptor, KvmCapability capability) =>
        Math.Max(KvmCalls.Control(descriptor, KvmRequest.CheckExtension, (void*)(ulong)capability), 0);

    private static string? Lacks(int descriptor)
    {
        int version = KvmCalls.Control(descriptor, KvmRequest.GetApiVersion, null);
        if (version != ApiVersion)
            return $"{Path} speaks version {version} of its interface, not {ApiVersion}: use a newer kernel";
        ReadOnlySpan<KvmCapability> needed =
        [
            KvmCapability.UserMemory, KvmCapability.ImmediateExit, KvmCapability.VcpuEvents, KvmCapability.DebugRegisters, KvmCapability.Xsave,
            KvmCapability.Xcrs, KvmCapability.UserSpaceMsr, KvmCapability.MsrFilter, KvmCapability.ReadOnlyMemory,
        ];
        foreach (KvmCapability capability in needed)
            if (Check(descriptor, capability) == 0)
                return $"this kernel's KVM lacks {capability} (capability {(int)capability}): use Linux 5.10 or newer";
        return null;
    }

    private KvmCpuidEntry[] ReadCpuid()
    {
        for (int room = 128; ; room *= 2)
        {
            byte[] buffer = new byte[KvmCpuidEntry.HeaderSize + (room * sizeof(KvmCpuidEntry))];
            fixed (byte* list = buffer)
            {
                *(int*)list = room;
                if (KvmCalls.Control(_descriptor, KvmRequest.GetSupportedCpuid, list) >= 0)
                    return new ReadOnlySpan<KvmCpuidEntry>(list + KvmCpuidEntry.HeaderSize, *(int*)list).ToArray();
            }
            int error = Marshal.GetLastPInvokeError();
            if (error != KvmCalls.E2big)
                throw new KvmException("KVM_GET_SUPPORTED_CPUID", error);
        }
    }

    private uint[] ReadMsrIndices()
    {
        for (int room = 256; ; room *= 2)
        {
            uint[] buffer = new uint[1 + room];
            buffer[0] = (uint)room;
            fixed (uint* list = buffer)
            {
                if (KvmCalls.Control(_descriptor, KvmRequest.GetMsrIndexList, list) >= 0)
                    return buffer.AsSpan(1, (int)buffer[0]).ToArray();
            }
            int error = Marshal.GetLastPInvokeError();
            if (error != KvmCalls.E2big)
                throw new KvmException("KVM_GET_MSR_INDEX_LIST", error);
        }
    }
}
