using System.Runtime.CompilerServices;
using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>XSAVE, XSAVEOPT, XSAVEC, XSAVES, XRSTOR and XRSTORS (SDM Vol. 1, chapter 13).</summary>
/// <remarks>
/// A component counts as in use exactly when it differs from its initial configuration; the modified optimization, which the architecture
/// leaves to the processor, is not made. Everything is read and checked before the first register or byte changes.
/// </remarks>
internal static unsafe class XsaveFamily
{
    public static void Register(Binders.Registry r)
    {
        foreach (Mnemonic m in (ReadOnlySpan<Mnemonic>)[
            Mnemonic.Xsave, Mnemonic.Xsave64, Mnemonic.Xsaveopt, Mnemonic.Xsaveopt64, Mnemonic.Xsavec, Mnemonic.Xsavec64,
            Mnemonic.Xsaves, Mnemonic.Xsaves64, Mnemonic.Xrstor, Mnemonic.Xrstor64, Mnemonic.Xrstors, Mnemonic.Xrstors64])
            r.Add(m, &Bind);
    }

    private static bool Bind(ref OpBuilder b)
    {
        VectorForms.FillMemory(ref b);
        b.Op->Run = b.Instruction.Mnemonic switch
        {
            Mnemonic.Xsave => &Save<Standard, ExtendedState.Offsets32>,
            Mnemonic.Xsave64 => &Save<Standard, ExtendedState.Offsets64>,
            Mnemonic.Xsaveopt => &Save<Optimized, ExtendedState.Offsets32>,
            Mnemonic.Xsaveopt64 => &Save<Optimized, ExtendedState.Offsets64>,
            Mnemonic.Xsavec => &Save<Compact, ExtendedState.Offsets32>,
            Mnemonic.Xsavec64 => &Save<Compact, ExtendedState.Offsets64>,
            Mnemonic.Xsaves => &Save<Supervisor, ExtendedState.Offsets32>,
            Mnemonic.Xsaves64 => &Save<Supervisor, ExtendedState.Offsets64>,
            Mnemonic.Xrstor => &Restore<Standard, ExtendedState.Offsets32>,
            Mnemonic.Xrstor64 => &Restore<Standard, ExtendedState.Offsets64>,
            Mnemonic.Xrstors => &Restore<Supervisor, ExtendedState.Offsets32>,
            _ => &Restore<Supervisor, ExtendedState.Offsets64>,
        };
        return VectorForms.Gate(ref b);
    }

    private interface IVariant
    {
        /// <summary>Writes the compacted format.</summary>
        static abstract bool Compacts { get; }
        /// <summary>Leaves components in their initial configuration unwritten.</summary>
        static abstract bool SkipsInitial { get; }
        /// <summary>Ring 0 only, and IA32_XSS counts.</summary>
        static abstract bool Privileged { get; }
    }

    private readonly struct Standard : IVariant
    {
        public static bool Compacts => false;
        public static bool SkipsInitial => false;
        public static bool Privileged => false;
    }

    private readonly struct Optimized : IVariant
    {
        public static bool Compacts => false;
        public static bool SkipsInitial => true;
        public static bool Privileged => false;
    }

    private readonly struct Compact : IVariant
    {
        public static bool Compacts => true;
        public static bool SkipsInitial => true;
        public static bool Privileged => false;
    }

    private readonly struct Supervisor : IVariant
    {
        public static bool Compacts => true;
        public static bool SkipsInitial => true;
        public static bool Privileged => true;
    }

    /// <summary>The checks before any memory is touched, in order. 0: go on.</summary>
    private static int Check<TVariant>(SoftwareVcpu cpu, CpuState* s) where TVariant : IVariant
    {
        if ((s->Cr4 & Cr4.OsXsave) == 0)
            return cpu.Undefined();
        if ((s->Cr0 & Cr0.Ts) != 0)
            return cpu.Fault(Vector.DeviceNotAvailable);
        return TVariant.Privileged && s->Cpl != 0 ? cpu.GeneralProtection() : 0;
    }

    /// <summary>The requested-feature bitmap: EDX:EAX within what is enabled.</summary>
    private static ulong Requested<TVariant>(CpuState* s) where TVariant : IVariant =>
        ((uint)s->Gpr[0] | (s->Gpr[2] << 32)) & (TVariant.Privileged ? s->Xcr0 | s->Xss : s->Xcr0);

    /// <summary>XINUSE: the components that are not in their initial configuration.</summary>
    private static ulong InUse(CpuState* s)
    {
        ulong xmm = 0, ymm = 0;
        for (int i = 0; i < 64; i += 4)
        {
            xmm |= s->Ymm[i] | s->Ymm[i + 1];
            ymm |= s->Ymm[i + 2] | s->Ymm[i + 3];
        }
        return (LegacyArea.IsInitX87(s) ? 0 : XsaveLayout.X87) | (xmm != 0 ? XsaveLayout.Sse : 0) | (ymm != 0 ? XsaveLayout.Avx : 0)
            | (s->Pkru != 0 ? XsaveLayout.Pkru : 0);
    }

    private static int Save<TVariant, TPointers>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TVariant : IVariant where TPointers : ExtendedState.IPointers
    {
        if (Check<TVariant>(cpu, s) != 0)
            return Status.Fault;
        ulong requested = Requested<TVariant>(s);
        int size = TVariant.Compacts ? XsaveLayout.CompactedSize(requested) : XsaveLayout.StandardSize(requested);
        if (!AnyAddress.Linear(cpu, s, op, size, write: true, out ulong linear)
            || !Alignment.Check(cpu, linear, 64)
            || !ExtendedState.Writable(cpu, s, op, linear, size))
            return Status.Fault;
        byte* area = stackalloc byte[XsaveLayout.FullSize];
        byte* header = area + XsaveLayout.Header;
        if (!ExtendedState.Read(cpu, s, op, linear + XsaveLayout.Header, header, 8))
            return Status.Fault;
        ulong inUse = InUse(s);
        if (TVariant.Compacts && s->Mxcsr != LegacyArea.MxcsrReset)
            inUse |= XsaveLayout.Sse;
        ulong written = TVariant.SkipsInitial ? requested & inUse : requested;
        *(ulong*)header = (TVariant.Compacts ? 0 : *(ulong*)header & ~requested) | (requested & inUse);
        *(ulong*)(header + 8) = requested | XsaveLayout.Compacted;

        int count = LegacyArea.XmmCount(s);
        if ((written & XsaveLayout.X87) != 0)
        {
            LegacyArea.SaveX87(s, area, TPointers.Wide);
            if (!ExtendedState.Write(cpu, s, op, linear, area, LegacyArea.MxcsrOffset)
                || !ExtendedState.Write(cpu, s, op, linear + LegacyArea.StackOffset, area + LegacyArea.StackOffset, 128))
                return Status.Fault;
        }
        // MXCSR belongs to SSE in the compacted format, to SSE and AVX, optimized or not, in the standard one.
        bool mxcsr = TVariant.Compacts ? (written & XsaveLayout.Sse) != 0 : (requested & (XsaveLayout.Sse | XsaveLayout.Avx)) != 0;
        if (mxcsr)
        {
            *(uint*)(area + LegacyArea.MxcsrOffset) = s->Mxcsr;
            *(uint*)(area + LegacyArea.MxcsrMaskOffset) = LegacyArea.MxcsrMask(cpu.Model);
            if (!ExtendedState.Write(cpu, s, op, linear + LegacyArea.MxcsrOffset, area + LegacyArea.MxcsrOffset, 8))
                return Status.Fault;
        }
        if ((written & XsaveLayout.Sse) != 0)
        {
            LegacyArea.SaveXmm(s, area, count);
            if (!ExtendedState.Write(cpu, s, op, linear + LegacyArea.XmmOffset, area + LegacyArea.XmmOffset, count * 16))
                return Status.Fault;
        }
        if ((written & XsaveLayout.Avx) != 0)
        {
            byte* upper = area + XsaveLayout.AvxOffset;
            for (int i = 0; i < count; i++)
                Unsafe.CopyBlockUnaligned(upper + i * 16, s->Ymm + i * 4 + 2, 16);
            if (!ExtendedState.Write(cpu, s, op, linear + XsaveLayout.AvxOffset, upper, count * 16))
                return Status.Fault;
        }
        if ((written & XsaveLayout.Pkru) != 0)
        {
            ulong pkru = s->Pkru;
            if (!ExtendedState.Write(cpu, s, op, linear + (ulong)PkruOffset(TVariant.Compacts, requested), (byte*)&pkru, XsaveLayout.PkruSize))
                return Status.Fault;
        }
        return ExtendedState.Write(cpu, s, op, linear + XsaveLayout.Header, header, TVariant.Compacts ? 16 : 8) ? Status.Next : Status.Fault;
    }

    private static int PkruOffset(bool compacted, ulong components) =>
        compacted && (components & XsaveLayout.Avx) == 0 ? XsaveLayout.AvxOffset : XsaveLayout.PkruOffset;

    private static int Restore<TVariant, TPointers>(SoftwareVcpu cpu, CpuState* s, Op* op)
        where TVariant : IVariant where TPointers : ExtendedState.IPointers
    {
        if (Check<TVariant>(cpu, s) != 0)
            return Status.Fault;
        ulong requested = Requested<TVariant>(s);
        byte* area = stackalloc byte[XsaveLayout.FullSize];
        ulong* header = (ulong*)(area + XsaveLayout.Header);
        if (!AnyAddress.Linear(cpu, s, op, XsaveLayout.Extended, write: false, out ulong linear)
            || !Alignment.Check(cpu, linear, 64)
            || !ExtendedState.Read(cpu, s, op, linear + XsaveLayout.Header, (byte*)header, XsaveLayout.HeaderSize))
            return Status.Fault;
        ulong present = header[0];
        bool compacted = (header[1] & XsaveLayout.Compacted) != 0;
        if (!HeaderIsValid<TVariant>(cpu, s, header, compacted))
            return cpu.GeneralProtection();

        ulong loaded = requested & present;
        bool mxcsr = (loaded & XsaveLayout.Sse) != 0 || (!compacted && (requested & (XsaveLayout.Sse | XsaveLayout.Avx)) != 0);
        if ((loaded & (XsaveLayout.X87 | XsaveLayout.Sse)) != 0)
        {
            if (!ExtendedState.Read(cpu, s, op, linear, area, LegacyArea.XmmOffset + 256))
                return Status.Fault;
        }
        else if (mxcsr && !ExtendedState.Read(cpu, s, op, linear + LegacyArea.MxcsrOffset, area + LegacyArea.MxcsrOffset, 4))
        {
            return Status.Fault;
        }
        uint newMxcsr = mxcsr ? *(uint*)(area + LegacyArea.MxcsrOffset) : LegacyArea.MxcsrReset;
        if ((newMxcsr & ~LegacyArea.MxcsrMask(cpu.Model)) != 0)
            return cpu.GeneralProtection();
        byte* upper = area + XsaveLayout.AvxOffset;
        int count = LegacyArea.XmmCount(s);
        if ((loaded & XsaveLayout.Avx) != 0 && !ExtendedState.Read(cpu, s, op, linear + XsaveLayout.AvxOffset, upper, count * 16))
            return Status.Fault;
        ulong pkru = 0;
        if ((loaded & XsaveLayout.Pkru) != 0
            && !ExtendedState.Read(cpu, s, op, linear + (ulong)PkruOffset(compacted, header[1]), (byte*)&pkru, XsaveLayout.PkruSize))
            return Status.Fault;

        if ((loaded & XsaveLayout.X87) != 0)
            LegacyArea.LoadX87(s, area, TPointers.Wide);
        else if ((requested & XsaveLayout.X87) != 0)
            LegacyArea.InitX87(s);
        if (mxcsr || (requested & XsaveLayout.Sse) != 0)
            s->Mxcsr = newMxcsr;
        if ((loaded & XsaveLayout.Sse) != 0)
            LegacyArea.LoadXmm(s, area, count);
        else if ((requested & XsaveLayout.Sse) != 0)
            LegacyArea.InitXmm(s, count);
        if ((requested & XsaveLayout.Avx) != 0)
            for (int i = 0; i < count; i++)
                if ((loaded & XsaveLayout.Avx) != 0)
                    Unsafe.CopyBlockUnaligned(s->Ymm + i * 4 + 2, upper + i * 16, 16);
                else
                    Unsafe.InitBlockUnaligned(s->Ymm + i * 4 + 2, 0, 16);
        if ((requested & XsaveLayout.Pkru) == 0 || s->Pkru == (uint)pkru)
            return Status.Next;
        s->Pkru = (uint)pkru;
        cpu.Mmu.RightsChanged();
        s->Rip = op->NextRip;
        return Status.BlockEnd;
    }

    /// <summary>SDM Vol. 1, 13.8 and 13.12: what the header may say in either format.</summary>
    private static bool HeaderIsValid<TVariant>(SoftwareVcpu cpu, CpuState* s, ulong* header, bool compacted) where TVariant : IVariant
    {
        ulong enabled = TVariant.Privileged ? s->Xcr0 | s->Xss : s->Xcr0;
        if (!compacted)
            return !TVariant.Privileged && (header[0] & ~enabled) == 0 && header[1] == 0 && header[2] == 0;
        ulong others = header[2] | header[3] | header[4] | header[5] | header[6] | header[7];
        ulong components = header[1] & ~XsaveLayout.Compacted;
        return cpu.Model.Has(Feature.XsaveC) && (components & ~enabled) == 0 && (header[0] & ~components) == 0 && others == 0;
    }
}
