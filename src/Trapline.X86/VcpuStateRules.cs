using System.Buffers.Binary;

namespace Trapline.X86;

/// <summary>Which states a vCPU of a model can be in: what every engine refuses to import, with the reason.</summary>
public static class VcpuStateRules
{
    /// <summary>Bytes of <see cref="VcpuState.Xsave"/>: x87, SSE, header, AVX.</summary>
    public const int XsaveSize = XsaveLayout.AvxOffset + XsaveLayout.AvxSize;

    private const ulong MxcsrMask = 0xFFFF;

    /// <exception cref="ArgumentException">The state is impossible; the message says what.</exception>
    public static void Check(VcpuState state, CpuModel model)
    {
        CheckShape(state);
        CheckControl(state, model);
        CheckSegments(state);
        CheckMsrs(state, model);
        CheckXsave(state, model);
        CheckEvents(state);
    }

    private static void CheckShape(VcpuState s)
    {
        Require(s.General.Length == 16, "a vCPU has 16 general registers");
        Require(s.Segments.Length == 8, "a vCPU has 8 segment registers (ES, CS, SS, DS, FS, GS, LDTR, TR)");
        Require(s.Debug.Length == 6, "a vCPU has 6 debug registers (DR0 to DR3, DR6, DR7)");
        Require(s.Pdptes.Length is 0 or 4, "there are 4 page-directory-pointer entries, or none");
        Require(s.Xsave.Length is 0 or >= XsaveSize, $"the XSAVE image needs {XsaveSize} bytes");
        Require(Enum.IsDefined(s.Activity), $"activity {(int)s.Activity} does not exist");
    }

    private static void CheckControl(VcpuState s, CpuModel model)
    {
        ulong efer = s.Msrs.GetValueOrDefault(Msr.Efer);
        bool paging = (s.Cr0 & Cr0.Pg) != 0, isProtected = (s.Cr0 & Cr0.Pe) != 0, longMode = (efer & Efer.Lma) != 0;
        Require((s.Cr0 & ~Cr0.Defined) == 0, $"CR0 {s.Cr0:x} has reserved bits");
        Require(!paging || isProtected, "CR0.PG needs CR0.PE");
        Require((s.Cr0 & Cr0.Nw) == 0 || (s.Cr0 & Cr0.Cd) != 0, "CR0.NW needs CR0.CD");
        Require(s.Cr3 >> model.PhysicalAddressBits == 0, $"CR3 {s.Cr3:x} is wider than model {model.Name}'s addresses");
        Require((s.Cr4 & ~model.Cr4Bits) == 0, $"CR4 {s.Cr4:x} has bits that model {model.Name} lacks");
        Require(s.Cr8 < 16, "CR8 has 4 bits");
        Require((efer & ~model.EferBits) == 0, $"EFER {efer:x} has bits that model {model.Name} lacks");
        Require(longMode == ((efer & Efer.Lme) != 0 && paging), "EFER.LMA must follow from EFER.LME and CR0.PG");
        Require(!longMode || (s.Cr4 & Cr4.Pae) != 0, "long mode needs CR4.PAE");
        Require((s.Cr4 & Cr4.Pcide) == 0 || longMode, "CR4.PCIDE needs long mode");
        Require((s.Xcr0 & ~model.Xcr0Bits) == 0 && (s.Xcr0 & XsaveLayout.X87) != 0, $"XCR0 {s.Xcr0:x} is impossible for model {model.Name}");
        Require((s.Xcr0 & XsaveLayout.Avx) == 0 || (s.Xcr0 & XsaveLayout.Sse) != 0, "XCR0.AVX needs XCR0.SSE");
        Require((s.Rflags & ~Rflags.Defined) == 0 && (s.Rflags & Rflags.Fixed) != 0, $"RFLAGS {s.Rflags:x} has reserved bits");
        Require((s.Rflags & Rflags.Vm) == 0 || (isProtected && !longMode), "virtual-8086 mode needs protected mode and does not exist in long mode");
        Require(s.Debug[4] >> 32 == 0 && s.Debug[5] >> 32 == 0, "DR6 and DR7 have 32 bits");
        Require((s.PendingDebug & ~0xE00Ful) == 0, $"pending debug exceptions {s.PendingDebug:x} are not bits of DR6");
    }

    private static void CheckSegments(VcpuState s)
    {
        bool longMode = (s.Msrs.GetValueOrDefault(Msr.Efer) & Efer.Lma) != 0;
        for (int i = 0; i < s.Segments.Length; i++)
        {
            const uint defined = 0x1F0FF;
            Require((s.Segments[i].Attributes & ~defined) == 0, $"segment register {i} has reserved access rights {s.Segments[i].Attributes:x}");
            Require(IsCanonical(s.Segments[i].Base), $"the base of segment register {i} is not canonical");
        }
        uint code = s.Segments[SegmentIndex.Cs].Attributes;
        const uint both = SegmentAttributes.Long | SegmentAttributes.Big;
        Require(!longMode || (code & both) != both, "CS cannot be both 64-bit and 32-bit");
        Require(IsCanonical(s.Gdtr.Base) && IsCanonical(s.Idtr.Base), "the bases of GDTR and IDTR must be canonical");
        bool code64 = longMode && (code & SegmentAttributes.Long) != 0;
        Require(code64 || s.Rip >> 32 == 0, $"RIP {s.Rip:x} is too wide outside 64-bit code");
        Require(!code64 || IsCanonical(s.Rip), $"RIP {s.Rip:x} is not canonical");
    }

    private static void CheckMsrs(VcpuState s, CpuModel model)
    {
        foreach ((uint index, ulong value) in s.Msrs)
        {
            Require(VcpuMsrs.Has(model, index), $"model {model.Name} has no MSR {index:x} that belongs to a vCPU's engine");
            bool valid = index switch
            {
                Msr.Lstar or Msr.Cstar or Msr.KernelGsBase or Msr.SysenterEsp or Msr.SysenterEip => IsCanonical(value),
                Msr.SysenterCs or Msr.Fmask or Msr.TscAux => value >> 32 == 0,
                Msr.Pat => ArePatTypes(value),
                Msr.McgStatus => value <= 7,
                Msr.DebugCtl => value <= 3,
                Msr.Xss => value == 0,
                _ => true,
            };
            Require(valid, $"MSR {index:x} cannot hold {value:x}");
        }
    }

    private static void CheckXsave(VcpuState s, CpuModel model)
    {
        if (s.Xsave.Length == 0)
            return;
        ulong present = BinaryPrimitives.ReadUInt64LittleEndian(s.Xsave.AsSpan(XsaveLayout.Header));
        Require((present & ~(model.Xcr0Bits & ~XsaveLayout.Pkru)) == 0, $"the XSAVE image has components {present:x} that model {model.Name} lacks");
        Require(BinaryPrimitives.ReadUInt64LittleEndian(s.Xsave.AsSpan(XsaveLayout.Header + 8)) == 0, "the XSAVE image must not be compacted");
        Require((BinaryPrimitives.ReadUInt32LittleEndian(s.Xsave.AsSpan(24)) & ~MxcsrMask) == 0, "MXCSR has reserved bits");
    }

    private static void CheckEvents(VcpuState s)
    {
        if (s.Injected is not { } injected)
            return;
        Require(s.Activity is VcpuActivity.Running or VcpuActivity.Halted, "a vCPU that waits for start-up or has shut down takes no event");
        bool known = injected.Kind switch
        {
            InjectedKind.ExternalInterrupt => injected.ErrorCode is null,
            InjectedKind.NonMaskable => injected.Vector == Vector.Nmi && injected.ErrorCode is null,
            // A double fault's error code is always 0; the other codes have 32 bits at most.
            InjectedKind.Exception => injected.Vector < 32 && injected.Vector != Vector.Nmi
                && (injected.ErrorCode is null || injected.Vector is Vector.DoubleFault or Vector.InvalidTss or Vector.SegmentNotPresent
                    or Vector.StackFault or Vector.GeneralProtection or Vector.PageFault or Vector.AlignmentCheck),
            _ => false,
        };
        Require(known, $"event {injected.Vector} cannot be injected as {injected.Kind}{(injected.ErrorCode is null ? "" : " with an error code")}");
    }

    private static bool IsCanonical(ulong address) => address + (1ul << 47) < 1ul << 48;

    /// <summary>UC, WC, WT, WP, WB, UC- (SDM Vol. 3, 12.12.2).</summary>
    private static bool ArePatTypes(ulong value)
    {
        for (; value != 0; value >>= 8)
        {
            if ((byte)value is 2 or 3 or > 7)
                return false;
        }
        return true;
    }

    private static void Require(bool holds, string message)
    {
        if (!holds)
            throw new ArgumentException(message);
    }
}
