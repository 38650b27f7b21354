using System.Runtime.CompilerServices;
using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>FXSAVE, FXRSTOR, LDMXCSR, STMXCSR and EMMS; the memory transfers that the XSAVE family uses too.</summary>
internal static unsafe class ExtendedState
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Fxsave, &BindArea);
        r.Add(Mnemonic.Fxsave64, &BindArea);
        r.Add(Mnemonic.Fxrstor, &BindArea);
        r.Add(Mnemonic.Fxrstor64, &BindArea);
        r.Add(Mnemonic.Ldmxcsr, &BindMxcsr);
        r.Add(Mnemonic.Vldmxcsr, &BindMxcsr);
        r.Add(Mnemonic.Stmxcsr, &BindMxcsr);
        r.Add(Mnemonic.Vstmxcsr, &BindMxcsr);
        r.Add(Mnemonic.Emms, &BindEmms);
    }

    private static bool BindArea(ref OpBuilder b)
    {
        VectorForms.FillMemory(ref b);
        b.Op->Run = b.Instruction.Mnemonic switch
        {
            Mnemonic.Fxsave => &Save<Offsets32>,
            Mnemonic.Fxsave64 => &Save<Offsets64>,
            Mnemonic.Fxrstor => &Restore<Offsets32>,
            _ => &Restore<Offsets64>,
        };
        return VectorForms.Gate(ref b);
    }

    /// <summary>Format of the x87 pointers in an image: REX.W makes them 64 bits wide.</summary>
    internal interface IPointers
    {
        static abstract bool Wide { get; }
    }

    internal readonly struct Offsets32 : IPointers
    {
        public static bool Wide => false;
    }

    internal readonly struct Offsets64 : IPointers
    {
        public static bool Wide => true;
    }

    private static bool Unavailable(CpuState* s) => (s->Cr0 & (Cr0.Em | Cr0.Ts)) != 0;

    private static int Refuse(SoftwareVcpu cpu, CpuState* s) =>
        (s->Cr0 & Cr0.Em) != 0 ? cpu.Undefined() : cpu.Fault(Vector.DeviceNotAvailable);

    /// <summary>Bytes 464 to 511 are software's: never touched. XMM state is saved whatever CR4.OSFXSR says, which the architecture allows.</summary>
    private static int Save<TPointers>(SoftwareVcpu cpu, CpuState* s, Op* op) where TPointers : IPointers
    {
        if (Unavailable(s))
            return Refuse(cpu, s);
        if (!AnyAddress.Linear(cpu, s, op, XsaveLayout.LegacySize, write: true, out ulong linear) || !Alignment.Check(cpu, linear, 16))
            return Status.Fault;
        byte* area = stackalloc byte[XsaveLayout.LegacySize];
        LegacyArea.SaveX87(s, area, TPointers.Wide);
        *(uint*)(area + LegacyArea.MxcsrOffset) = s->Mxcsr;
        *(uint*)(area + LegacyArea.MxcsrMaskOffset) = LegacyArea.MxcsrMask(cpu.Model);
        int count = LegacyArea.XmmCount(s);
        LegacyArea.SaveXmm(s, area, count);
        return Writable(cpu, s, op, linear, XsaveLayout.LegacySize)
            && Write(cpu, s, op, linear, area, LegacyArea.XmmOffset + count * 16) ? Status.Next : Status.Fault;
    }

    private static int Restore<TPointers>(SoftwareVcpu cpu, CpuState* s, Op* op) where TPointers : IPointers
    {
        if (Unavailable(s))
            return Refuse(cpu, s);
        byte* area = stackalloc byte[XsaveLayout.LegacySize];
        if (!AnyAddress.Linear(cpu, s, op, XsaveLayout.LegacySize, write: false, out ulong linear)
            || !Alignment.Check(cpu, linear, 16)
            || !Read(cpu, s, op, linear, area, XsaveLayout.LegacySize))
            return Status.Fault;
        uint mxcsr = *(uint*)(area + LegacyArea.MxcsrOffset);
        if ((mxcsr & ~LegacyArea.MxcsrMask(cpu.Model)) != 0)
            return cpu.GeneralProtection();
        LegacyArea.LoadX87(s, area, TPointers.Wide);
        s->Mxcsr = mxcsr;
        LegacyArea.LoadXmm(s, area, LegacyArea.XmmCount(s));
        return Status.Next;
    }

    private static bool BindMxcsr(ref OpBuilder b)
    {
        VectorForms.FillMemory(ref b);
        b.Op->Run = b.Instruction.Mnemonic switch
        {
            Mnemonic.Ldmxcsr => &LoadMxcsr<Sse>,
            Mnemonic.Vldmxcsr => &LoadMxcsr<Vex>,
            Mnemonic.Stmxcsr => &StoreMxcsr<Sse>,
            _ => &StoreMxcsr<Vex>,
        };
        return VectorForms.Gate(ref b);
    }

    private static int LoadMxcsr<TEncoding>(SoftwareVcpu cpu, CpuState* s, Op* op) where TEncoding : IEncoding
    {
        if (!TEncoding.Ready(cpu, s))
            return Status.Fault;
        if (!AnyAddress.Linear(cpu, s, op, 4, write: false, out ulong linear) || !GuestAccess.Load<W32>(cpu, s, op, linear, out ulong value))
            return Status.Fault;
        if ((value & ~(ulong)LegacyArea.MxcsrMask(cpu.Model)) != 0)
            return cpu.GeneralProtection();
        s->Mxcsr = (uint)value;
        return Status.Next;
    }

    private static int StoreMxcsr<TEncoding>(SoftwareVcpu cpu, CpuState* s, Op* op) where TEncoding : IEncoding
    {
        if (!TEncoding.Ready(cpu, s))
            return Status.Fault;
        return AnyAddress.Linear(cpu, s, op, 4, write: true, out ulong linear)
            && GuestAccess.Store<W32>(cpu, s, op, linear, s->Mxcsr) ? Status.Next : Status.Fault;
    }

    private static bool BindEmms(ref OpBuilder b)
    {
        b.Op->Run = &Emms;
        return VectorForms.Gate(ref b);
    }

    private static int Emms(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        if (!Mmx.Ready(cpu, s))
            return Status.Fault;
        s->FpuTop = 0;
        s->FpuTags = 0;
        return Status.Next;
    }

    /// <summary>True if all of the range can be written; else a fault is pending and nothing has changed.</summary>
    internal static bool Writable(SoftwareVcpu cpu, CpuState* s, Op* op, ulong linear, int size) =>
        GuestAccess.WritePointer(s, linear, size) != null || cpu.Probe(linear, size, op->Segment, write: true);

    internal static bool Write(SoftwareVcpu cpu, CpuState* s, Op* op, ulong linear, byte* from, int size)
    {
        byte* p = GuestAccess.WritePointer(s, linear, size);
        if (p != null)
        {
            Unsafe.CopyBlockUnaligned(p, from, (uint)size);
            return true;
        }
        for (int done = 0; done < size; done += 64)
            if (!cpu.TransferSlow(linear + (ulong)done, from + done, Math.Min(64, size - done), op->Segment, store: true))
                return false;
        return true;
    }

    internal static bool Read(SoftwareVcpu cpu, CpuState* s, Op* op, ulong linear, byte* to, int size)
    {
        byte* p = GuestAccess.ReadPointer(s, linear, size);
        if (p != null)
        {
            Unsafe.CopyBlockUnaligned(to, p, (uint)size);
            return true;
        }
        for (int done = 0; done < size; done += 64)
            if (!cpu.TransferSlow(linear + (ulong)done, to + done, Math.Min(64, size - done), op->Segment, store: false))
                return false;
        return true;
    }
}
