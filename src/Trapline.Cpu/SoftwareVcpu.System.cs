using Trapline.Cpu.Interpreter;
using Trapline.X86;

namespace Trapline.Cpu;

/// <summary>What system instructions need besides segments and control registers: LDTR, TR, port permissions, CPUID's inputs.</summary>
public sealed unsafe partial class SoftwareVcpu
{
    /// <summary>How many vCPUs the machine has, as CPUID tells the guest.</summary>
    public int VcpuCount { get; set; } = 1;

    /// <summary>This vCPU's local APIC id.</summary>
    public uint ApicId { get; set; }

    /// <summary>48-bit canonical form: the upper 17 bits are all equal.</summary>
    internal static bool IsCanonical(ulong address) => address + (1ul << 47) < 1ul << 48;

    internal CpuidResult Cpuid(uint leaf, uint subleaf) =>
        _model.Cpuid(leaf, subleaf, new CpuidInputs(ApicId, VcpuCount, State->Cr4, State->Xcr0, State->Xss, ApicOff(leaf)));

    /// <summary>Whether IA32_APIC_BASE.EN is clear: asked for the leaves that tell.</summary>
    private bool ApicOff(uint leaf) =>
        leaf is 1 or 0x8000_0001 && _io.ReadMsr(Index, Msr.ApicBase, out ulong apicBase) && (apicBase & ApicEnable) == 0;

    private const ulong ApicEnable = 1 << 11;

    /// <summary>LLDT. False: a fault is pending.</summary>
    internal bool LoadLdt(ushort selector)
    {
        CpuState* s = State;
        if (IsNull(selector))
        {
            SetNull(&s->Ldtr, selector);
            return true;
        }
        if ((selector & 4) != 0)
            return SelectorFault(Vector.GeneralProtection, selector) == 0;
        if (!ReadDescriptor(selector, Vector.GeneralProtection, out Descriptor d))
            return false;
        if (!d.IsSystem || d.Type != SystemType.Ldt)
            return SelectorFault(Vector.GeneralProtection, selector) == 0;
        if (!d.IsPresent)
            return SelectorFault(Vector.SegmentNotPresent, selector) == 0;
        if (!ReadUpper(selector, Vector.GeneralProtection, ref d))
            return false;
        if (LongMode && !Canonical(d.Base, 1))
            return SelectorFault(Vector.GeneralProtection, selector) == 0;
        s->Ldtr = d.ToRegister(selector);
        return true;
    }

    /// <summary>LTR. False: a fault is pending.</summary>
    internal bool LoadTaskRegister(ushort selector)
    {
        CpuState* s = State;
        if (IsNull(selector))
            return GeneralProtection() == 0;
        if ((selector & 4) != 0)
            return SelectorFault(Vector.GeneralProtection, selector) == 0;
        if (!ReadDescriptor(selector, Vector.GeneralProtection, out Descriptor d))
            return false;
        bool available = d.IsSystem && (d.Type == SystemType.Tss32 || (d.Type == SystemType.Tss16 && !LongMode));
        if (!available)
            return SelectorFault(Vector.GeneralProtection, selector) == 0;
        if (!d.IsPresent)
            return SelectorFault(Vector.SegmentNotPresent, selector) == 0;
        if (!ReadUpper(selector, Vector.GeneralProtection, ref d))
            return false;
        if (LongMode && !Canonical(d.Base, 1))
            return SelectorFault(Vector.GeneralProtection, selector) == 0;
        if (!SetBusy(d.Address, busy: true))
            return false;
        s->Tr = d.ToRegister(selector);
        s->Tr.Attributes |= 2;
        return true;
    }

    /// <summary>May the current privilege use these ports (SDM Vol. 1, 19.5)? False: a fault is pending.</summary>
    internal bool PortAllowed(ushort port, int size)
    {
        CpuState* s = State;
        bool checks = Protected && (Virtual8086 || (uint)s->Cpl > (uint)(s->RFlags >> 12 & 3));
        if (!checks)
            return true;
        // Only 32-bit and 64-bit TSSs have an I/O bitmap.
        if ((s->Tr.Attributes & 8) == 0 || s->Tr.Limit < 0x67)
            return GeneralProtection() == 0;
        if (!LoadSystem(Linear(s->Tr.Base + 0x66), 2, out ulong map))
            return false;
        uint at = (uint)map + port / 8u;
        if (at + 1 > s->Tr.Limit)
            return GeneralProtection() == 0;
        if (!LoadSystem(Linear(s->Tr.Base + at), 2, out ulong bits))
            return false;
        ulong mask = (1ul << size) - 1;
        return (bits >> (port & 7) & mask) == 0 || GeneralProtection() == 0;
    }

    /// <summary>I/O breakpoints (CR4.DE, R/W = 2) trap after the instruction.</summary>
    internal void MatchPortBreakpoints(ushort port, int size)
    {
        CpuState* s = State;
        if (!_dataBreakpoints || (s->Cr4 & Cr4.De) == 0)
            return;
        for (int i = 0; i < 4; i++)
        {
            uint control = (uint)(s->Dr[7] >> (16 + i * 4)) & 0xF;
            if ((s->Dr[7] & (3ul << (i * 2))) == 0 || (control & 3) != 2)
                continue;
            ulong length = (control >> 2) switch { 0 => 1ul, 1 => 2ul, 2 => 8ul, _ => 4ul };
            ulong start = s->Dr[i] & ~(length - 1);
            if (port < start + length && start < port + (ulong)size)
            {
                s->PendingDebug |= 1ul << i;
                RequestStep();
            }
        }
    }
}
