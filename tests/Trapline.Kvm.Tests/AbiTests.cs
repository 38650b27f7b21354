using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Trapline.Kvm.Abi;

namespace Trapline.Kvm.Tests;

/// <summary>Our numbers and sizes are those of the kernel's own header.</summary>
public sealed class AbiTests
{
    [HeaderFact]
    public void NumbersAndLayoutsAreTheKernels()
    {
        (string Expression, ulong Ours)[] facts =
        [
            ("KVM_GET_API_VERSION", KvmRequest.GetApiVersion), ("KVM_CREATE_VM", KvmRequest.CreateVm), ("KVM_RUN", KvmRequest.Run), ("KVM_NMI", KvmRequest.Nmi),
            ("KVM_GET_MSR_INDEX_LIST", KvmRequest.GetMsrIndexList), ("KVM_GET_SUPPORTED_CPUID", KvmRequest.GetSupportedCpuid),
            ("KVM_SET_USER_MEMORY_REGION", KvmRequest.SetUserMemoryRegion), ("KVM_SET_IDENTITY_MAP_ADDR", KvmRequest.SetIdentityMapAddress),
            ("KVM_SET_TSS_ADDR", KvmRequest.SetTssAddress), ("KVM_ENABLE_CAP", KvmRequest.EnableCapability), ("KVM_X86_SET_MSR_FILTER", KvmRequest.SetMsrFilter),
            ("KVM_GET_REGS", KvmRequest.GetRegisters), ("KVM_SET_REGS", KvmRequest.SetRegisters), ("KVM_GET_SREGS", KvmRequest.GetSpecialRegisters),
            ("KVM_SET_SREGS", KvmRequest.SetSpecialRegisters), ("KVM_GET_SREGS2", KvmRequest.GetSpecialRegisters2), ("KVM_SET_SREGS2", KvmRequest.SetSpecialRegisters2),
            ("KVM_INTERRUPT", KvmRequest.Interrupt), ("KVM_GET_MSRS", KvmRequest.GetMsrs), ("KVM_SET_MSRS", KvmRequest.SetMsrs),
            ("KVM_SET_SIGNAL_MASK", KvmRequest.SetSignalMask), ("KVM_SET_CPUID2", KvmRequest.SetCpuid), ("KVM_X86_SETUP_MCE", KvmRequest.SetupMachineCheck),
            ("KVM_GET_VCPU_EVENTS", KvmRequest.GetEvents), ("KVM_SET_VCPU_EVENTS", KvmRequest.SetEvents), ("KVM_GET_DEBUGREGS", KvmRequest.GetDebugRegisters),
            ("KVM_SET_DEBUGREGS", KvmRequest.SetDebugRegisters), ("KVM_GET_XSAVE", KvmRequest.GetXsave), ("KVM_SET_XSAVE", KvmRequest.SetXsave),
            ("KVM_GET_XSAVE2", KvmRequest.GetXsave2), ("KVM_GET_XCRS", KvmRequest.GetExtendedControl), ("KVM_SET_XCRS", KvmRequest.SetExtendedControl),
            ("KVM_SET_DEVICE_ATTR", KvmRequest.SetDeviceAttribute), ("KVM_GET_DEVICE_ATTR", KvmRequest.GetDeviceAttribute),
            ("KVM_SET_TSC_KHZ", KvmRequest.SetTscKilohertz), ("KVM_GET_TSC_KHZ", KvmRequest.GetTscKilohertz),
            ("KVM_IOEVENTFD", KvmRequest.IoEvent), ("sizeof(struct kvm_ioeventfd)", Size<KvmIoEvent>()),
            ("KVM_IOEVENTFD_FLAG_DATAMATCH", KvmIoEvent.HasMatch), ("KVM_IOEVENTFD_FLAG_PIO", KvmIoEvent.IsPort), ("KVM_IOEVENTFD_FLAG_DEASSIGN", KvmIoEvent.Deassign),
            ("KVM_CAP_IOEVENTFD", (ulong)KvmCapability.IoEvent), ("KVM_CAP_IOEVENTFD_ANY_LENGTH", (ulong)KvmCapability.IoEventAnyLength),
            ("KVM_GET_DIRTY_LOG", KvmRequest.GetDirtyLog), ("sizeof(struct kvm_dirty_log)", Size<KvmDirtyLog>()), ("KVM_MEM_LOG_DIRTY_PAGES", KvmMemoryRegion.LogDirtyPages),
            ("KVM_CAP_READONLY_MEM", (ulong)KvmCapability.ReadOnlyMemory),
            ("KVM_CAP_IMMEDIATE_EXIT", (ulong)KvmCapability.ImmediateExit), ("KVM_CAP_EXCEPTION_PAYLOAD", (ulong)KvmCapability.ExceptionPayload),
            ("KVM_CAP_X86_USER_SPACE_MSR", (ulong)KvmCapability.UserSpaceMsr), ("KVM_CAP_X86_MSR_FILTER", (ulong)KvmCapability.MsrFilter),
            ("KVM_CAP_EXIT_ON_EMULATION_FAILURE", (ulong)KvmCapability.ExitOnEmulationFailure), ("KVM_CAP_XSAVE2", (ulong)KvmCapability.Xsave2),
            ("KVM_CAP_SREGS2", (ulong)KvmCapability.SpecialRegisters2), ("KVM_CAP_PMU_CAPABILITY", (ulong)KvmCapability.PmuCapability),
            ("KVM_CAP_VCPU_ATTRIBUTES", (ulong)KvmCapability.VcpuAttributes), ("KVM_CAP_TSC_CONTROL", (ulong)KvmCapability.TscControl),
            ("sizeof(struct kvm_regs)", Size<KvmRegisters>()), ("sizeof(struct kvm_segment)", Size<KvmSegment>()), ("sizeof(struct kvm_sregs2)", Size<KvmSpecialRegisters>()),
            ("sizeof(struct kvm_msr_filter)", Size<KvmMsrFilter>()), ("sizeof(struct kvm_cpuid_entry2)", Size<KvmCpuidEntry>()), ("sizeof(struct kvm_enable_cap)", Size<KvmEnableCapability>()),
            ("offsetof(struct kvm_run, exit_reason)", Offset<KvmRun>(nameof(KvmRun.Reason))), ("offsetof(struct kvm_run, if_flag)", Offset<KvmRun>(nameof(KvmRun.InterruptFlag))),
            ("offsetof(struct kvm_run, cr8)", Offset<KvmRun>(nameof(KvmRun.Cr8))), ("offsetof(struct kvm_run, io)", Offset<KvmRun>(nameof(KvmRun.Io))),
            ("offsetof(struct kvm_run, io.data_offset) - offsetof(struct kvm_run, io)", Offset<KvmIo>(nameof(KvmIo.DataOffset))),
            ("offsetof(struct kvm_run, mmio.is_write) - offsetof(struct kvm_run, mmio)", Offset<KvmMmio>(nameof(KvmMmio.IsWrite))),
            ("offsetof(struct kvm_run, msr.data) - offsetof(struct kvm_run, msr)", Offset<KvmMsrAccess>(nameof(KvmMsrAccess.Data))),
            ("offsetof(struct kvm_run, emulation_failure.insn_bytes) - offsetof(struct kvm_run, internal)", Offset<KvmInternalError>(nameof(KvmInternalError.Instruction))),
            ("offsetof(struct kvm_vcpu_events, exception_payload)", Offset<KvmEvents>(nameof(KvmEvents.ExceptionPayload))),
            ("offsetof(struct kvm_vcpu_events, nmi.masked)", Offset<KvmEvents>(nameof(KvmEvents.NmiMasked))),
            ("offsetof(struct kvm_sregs2, pdptrs)", Offset<KvmSpecialRegisters>(nameof(KvmSpecialRegisters.Pdptes))),
        ];
        using TemporaryDirectory folder = new();
        string source = folder.File("facts.c"), program = folder.File("facts");
        File.WriteAllText(source, "#include <stddef.h>\n#include <stdio.h>\n#include <linux/kvm.h>\nint main(void) {\n"
            + string.Concat(facts.Select(f => $"printf(\"%lu\\n\", (unsigned long)({f.Expression}));\n")) + "return 0; }\n");
        Run("gcc", "-o", program, source);
        string[] kernels = Run(program).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(facts.Select((f, i) => $"{f.Expression} = {kernels[i]}"), facts.Select(f => $"{f.Expression} = {f.Ours}"));
    }

    private static ulong Size<T>() where T : unmanaged => (ulong)Unsafe.SizeOf<T>();

    private static ulong Offset<T>(string field) => (ulong)Marshal.OffsetOf<T>(field);

    private static string Run(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true })!;
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
        return output;
    }

    /// <summary>Needs a compiler and the kernel's header.</summary>
    [AttributeUsage(AttributeTargets.Method)]
    private sealed class HeaderFactAttribute : FactAttribute
    {
        public HeaderFactAttribute() => Skip = new FactNeedingAttribute("gcc").Skip ?? (File.Exists("/usr/include/linux/kvm.h") ? null : "linux/kvm.h is not installed");
    }
}
