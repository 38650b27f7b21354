using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>RDMSR, WRMSR, time stamps, CPUID, MONITOR and MWAIT, FS and GS bases, SWAPGS.</summary>
public static unsafe class ModelSpecific
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Rdmsr, &BindSystem);
        r.Add(Mnemonic.Wrmsr, &BindSystem);
        r.Add(Mnemonic.Rdtsc, &BindSystem);
        r.Add(Mnemonic.Rdtscp, &BindSystem);
        r.Add(Mnemonic.Rdpmc, &BindSystem);
        r.Add(Mnemonic.Cpuid, &BindSystem);
        r.Add(Mnemonic.Monitor, &BindMonitor);
        r.Add(Mnemonic.Mwait, &BindMonitor);
        r.Add(Mnemonic.Swapgs, &BindSystem);
        r.Add(Mnemonic.Rdpid, &BindRegister);
        r.Add(Mnemonic.Rdfsbase, &BindRegister);
        r.Add(Mnemonic.Rdgsbase, &BindRegister);
        r.Add(Mnemonic.Wrfsbase, &BindRegister);
        r.Add(Mnemonic.Wrgsbase, &BindRegister);
    }

    private static bool BindSystem(ref OpBuilder b)
    {
        Mnemonic mnemonic = b.Instruction.Mnemonic;
        CpuModel model = b.Model;
        bool known = mnemonic switch
        {
            Mnemonic.Rdmsr or Mnemonic.Wrmsr => model.Has(Feature.Msr),
            Mnemonic.Rdtsc => model.Has(Feature.Tsc),
            Mnemonic.Rdtscp => model.Has(Feature.Rdtscp),
            _ => true,
        };
        if (!known)
            return false;
        b.EndsBlock = mnemonic is Mnemonic.Wrmsr;
        b.Op->Run = mnemonic switch
        {
            Mnemonic.Rdmsr => &ReadMsr,
            Mnemonic.Wrmsr => &WriteMsr,
            Mnemonic.Rdtsc => &ReadTimeStamp,
            Mnemonic.Rdtscp => &ReadTimeStampAndId,
            Mnemonic.Rdpmc => &ReadCounter,
            Mnemonic.Cpuid => &Identify,
            _ => &SwapGs,
        };
        return true;
    }

    private static void SetEdxEax(CpuState* s, ulong value)
    {
        s->Gpr[0] = (uint)value;
        s->Gpr[2] = value >> 32;
    }

    private static int ReadMsr(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (s->Cpl != 0 || !cpu.ReadMsr((uint)s->Gpr[1], out ulong value))
            return cpu.GeneralProtection();
        SetEdxEax(s, value);
        return Status.Next;
    }

    private static int WriteMsr(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (s->Cpl != 0 || !cpu.WriteMsr((uint)s->Gpr[1], (uint)s->Gpr[0] | (s->Gpr[2] << 32)))
            return cpu.GeneralProtection();
        s->Rip = op->NextRip;
        return Status.BlockEnd;
    }

    private static int ReadTimeStamp(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (s->Cpl != 0 && (s->Cr4 & Cr4.Tsd) != 0)
            return cpu.GeneralProtection();
        SetTime(cpu, s, withId: false);
        return Status.Next;
    }

    /// <summary>What RDTSC and RDTSCP leave in the registers.</summary>
    internal static void SetTime(SoftwareVcpu cpu, CpuState* s, bool withId)
    {
        SetEdxEax(s, cpu.TimeStampCounter);
        if (withId)
            s->Gpr[1] = (uint)s->TscAux;
    }

    private static int ReadTimeStampAndId(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (s->Cpl != 0 && (s->Cr4 & Cr4.Tsd) != 0)
            return cpu.GeneralProtection();
        SetTime(cpu, s, withId: true);
        return Status.Next;
    }

    /// <summary>No counter exists, so no index is valid.</summary>
    private static int ReadCounter(SoftwareVcpu cpu, CpuState* s, Op* op) => cpu.GeneralProtection();

    private static int Identify(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        CpuidResult result = cpu.Cpuid((uint)s->Gpr[0], (uint)s->Gpr[1]);
        s->Gpr[0] = result.Eax;
        s->Gpr[1] = result.Ecx;
        s->Gpr[2] = result.Edx;
        s->Gpr[3] = result.Ebx;
        return Status.Next;
    }

    private static bool BindMonitor(ref OpBuilder b)
    {
        if (!b.Model.Has(Feature.Monitor))
            return false;
        bool monitor = b.Instruction.Mnemonic == Mnemonic.Monitor;
        b.EndsBlock = !monitor;
        b.Op->Segment = (byte)(monitor ? OpBuilder.SegmentNumber(b.Instruction.MemorySegment) : SegmentIndex.Ds);
        b.Op->AddressSize = (byte)(monitor ? b.Instruction.MemoryBase.GetSize() : 8);
        if (monitor && b.IsRegister(0))
            b.Op->AddressSize = (byte)b.RegisterSize(0);
        b.Op->Run = monitor ? &Monitor : &Wait;
        return true;
    }

    private const ulong MonitorEnable = 1ul << 18;

    private static bool MonitorIsOff(SoftwareVcpu cpu, CpuState* s) =>
        s->Cpl != 0 || (cpu.Model.IsIntel && (s->MiscEnable & MonitorEnable) == 0);

    /// <summary>Checks its address like a load of one byte; the wait itself watches interrupts only.</summary>
    private static int Monitor(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (MonitorIsOff(cpu, s))
            return cpu.Undefined();
        if ((uint)s->Gpr[1] != 0)
            return cpu.GeneralProtection();
        op->Base = 0;
        return General.Linear(cpu, s, op, 1, write: false, out ulong linear) && GuestAccess.Load<W8>(cpu, s, op, linear, out _)
            ? Status.Next : Status.Fault;
    }

    /// <summary>
    /// With other vCPUs about, whose stores would have to end the wait, MWAIT ends at once, as the architecture allows; alone, it halts.
    /// </summary>
    private static int Wait(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (MonitorIsOff(cpu, s))
            return cpu.Undefined();
        uint extensions = (uint)s->Gpr[1];
        if ((extensions & ~1u) != 0)
            return cpu.GeneralProtection();
        s->Rip = op->NextRip;
        bool masked = (s->RFlags & Rflags.If) == 0;
        return cpu.VcpuCount > 1 || (masked && extensions != 0) ? Status.BlockEnd : Status.Halt;
    }

    private static bool BindRegister(ref OpBuilder b)
    {
        Mnemonic mnemonic = b.Instruction.Mnemonic;
        if (!b.Model.Has(mnemonic == Mnemonic.Rdpid ? Feature.Rdpid : Feature.FsGsBase))
            return false;
        b.Op->Dst = b.Offset(0);
        b.Op->OperandSize = (byte)b.RegisterSize(0);
        b.Op->Imm = (ulong)(mnemonic is Mnemonic.Rdfsbase or Mnemonic.Wrfsbase ? SegmentIndex.Fs : SegmentIndex.Gs);
        b.Op->Run = mnemonic switch
        {
            Mnemonic.Rdpid => &ReadProcessorId,
            Mnemonic.Rdfsbase or Mnemonic.Rdgsbase => &ReadBase,
            _ => &WriteBase,
        };
        return true;
    }

    private static int ReadProcessorId(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        *(ulong*)((byte*)s + op->Dst) = s->TscAux;
        return Status.Next;
    }

    private static int ReadBase(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if ((s->Cr4 & Cr4.FsGsBase) == 0)
            return cpu.Undefined();
        DescriptorTables.SetRegister(s, op, cpu.Segment((int)op->Imm)->Base);
        return Status.Next;
    }

    private static int WriteBase(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if ((s->Cr4 & Cr4.FsGsBase) == 0)
            return cpu.Undefined();
        ulong value = *(ulong*)((byte*)s + op->Dst);
        if (op->OperandSize == 4)
            value = (uint)value;
        return cpu.SetSegmentBase((int)op->Imm, value) ? Status.Next : cpu.GeneralProtection();
    }

    private static int SwapGs(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (s->Cpl != 0)
            return cpu.GeneralProtection();
        ulong old = s->Gs.Base;
        cpu.SetSegmentBase(SegmentIndex.Gs, s->KernelGsBase);
        s->KernelGsBase = old;
        return Status.Next;
    }
}
