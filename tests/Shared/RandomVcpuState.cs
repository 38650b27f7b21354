using System.Buffers.Binary;
using Trapline.X86;

namespace Trapline.Testing;

/// <summary>Random states that a vCPU of a model can be in: real, protected, virtual-8086, PAE, compatibility and 64-bit mode.</summary>
public sealed class RandomVcpuState(int seed, CpuModel model)
{
    private readonly Random _random = new(seed);

    private enum Mode
    {
        Real,
        Protected,
        Virtual8086,
        PagedPae,
        Compatibility,
        Long,
    }

    public VcpuState Next()
    {
        Mode mode = (Mode)_random.Next(6);
        bool longMode = mode is Mode.Compatibility or Mode.Long, paging = longMode || mode == Mode.PagedPae || (mode != Mode.Real && Chance(2));
        ulong cr0 = Cr0.Et | (Bits() & (Cr0.Mp | Cr0.Em | Cr0.Ts | Cr0.Ne | Cr0.Wp | Cr0.Am | Cr0.Cd)) | (mode != Mode.Real ? Cr0.Pe : 0) | (paging ? Cr0.Pg : 0);
        if ((cr0 & Cr0.Cd) != 0 && Chance(2))
            cr0 |= Cr0.Nw;
        ulong cr4 = Bits() & model.Cr4Bits & ~(Cr4.Pae | Cr4.Pcide);
        if (longMode || mode == Mode.PagedPae)
            cr4 |= Cr4.Pae;
        if (longMode && Chance(2))
            cr4 |= model.Cr4Bits & Cr4.Pcide;
        ulong efer = (Bits() & model.EferBits & (Efer.Sce | Efer.Nxe)) | (longMode ? Efer.Lme | Efer.Lma : 0);
        ulong xcr0 = XsaveLayout.X87;
        if (Chance(2))
            xcr0 = model.Xcr0Bits & (Chance(2) ? ulong.MaxValue : ~XsaveLayout.Avx);
        bool pae = paging && (cr4 & Cr4.Pae) != 0 && !longMode;
        bool code64 = mode == Mode.Long;
        ulong[] general = [.. Enumerable.Range(0, 16).Select(i => code64 || i >= 8 ? Bits() : (uint)Bits())];
        return new VcpuState
        {
            General = general,
            Rip = code64 ? Canonical() : (uint)Bits(),
            Rflags = (Bits() & Rflags.Defined & ~Rflags.Vm) | Rflags.Fixed | (mode == Mode.Virtual8086 ? Rflags.Vm : 0),
            Segments = [.. Enumerable.Range(0, 8).Select(i => Segment(i, mode))],
            Gdtr = new TableState(Canonical(), (ushort)Bits()),
            Idtr = new TableState(Canonical(), (ushort)Bits()),
            Cr0 = cr0,
            Cr2 = Bits(),
            Cr3 = Bits() & ((1ul << model.PhysicalAddressBits) - 1),
            Cr4 = cr4,
            Cr8 = Bits() & 15,
            Xcr0 = xcr0,
            Pkru = (uint)Bits(),
            Debug = [Bits(), Bits(), Bits(), Bits(), (Bits() & 0xE00F) | 0xFFFF_0FF0, (uint)Bits() | 0x400],
            Pdptes = pae ? [Bits() | 1, Bits(), Bits(), Bits()] : [],
            Msrs = Msrs(efer),
            Xsave = Xsave(),
            X87CodeSelector = (ushort)Bits(),
            X87DataSelector = (ushort)Bits(),
            Activity = (VcpuActivity)_random.Next(4),
            StiShadow = Chance(8),
            MovSsShadow = Chance(8),
            NmiPending = Chance(4),
            NmiBlocked = Chance(4),
            InitPending = Chance(16),
            StartUpVector = Chance(16) ? (byte)Bits() : null,
            PendingDebug = Chance(8) ? Bits() & 0xE00F : 0,
            TimeStampCounter = Bits(),
        } is var state && state.Activity is VcpuActivity.Running or VcpuActivity.Halted && Chance(4) ? state with { Injected = Event() } : state;
    }

    public ulong Bits() => (ulong)_random.NextInt64(long.MinValue, long.MaxValue);

    private bool Chance(int oneIn) => _random.Next(oneIn) == 0;

    private ulong Canonical() => (ulong)((long)(Bits() << 16) >> 16);

    private SegmentState Segment(int index, Mode mode)
    {
        uint attributes = (uint)Bits() & 0x1F0FF;
        if (mode is Mode.Compatibility or Mode.Long && index == SegmentIndex.Cs)
        {
            attributes &= ~(SegmentAttributes.Long | SegmentAttributes.Big);
            attributes |= mode == Mode.Long ? SegmentAttributes.Long : (uint)Bits() & SegmentAttributes.Big;
        }
        return new SegmentState((ushort)Bits(), Canonical(), (uint)Bits(), attributes);
    }

    private Dictionary<uint, ulong> Msrs(ulong efer)
    {
        Dictionary<uint, ulong> msrs = [];
        foreach (uint index in VcpuMsrs.Owned)
        {
            if (!VcpuMsrs.Has(model, index))
                continue;
            msrs[index] = index switch
            {
                Msr.Efer => efer,
                Msr.Lstar or Msr.Cstar or Msr.KernelGsBase or Msr.SysenterEsp or Msr.SysenterEip => Canonical(),
                Msr.SysenterCs or Msr.Fmask or Msr.TscAux => (uint)Bits(),
                Msr.Pat => Enumerable.Range(0, 8).Aggregate(0ul, (pat, _) => (pat << 8) | (ulong)(byte)"\0\u0001\u0004\u0005\u0006\u0007"[_random.Next(6)]),
                Msr.McgStatus => Bits() & 7,
                Msr.DebugCtl => Bits() & 3,
                Msr.Xss => 0,
                Msr.SpecCtrl => Bits() & 0x407,
                _ => Bits(),
            };
        }
        return msrs;
    }

    private byte[] Xsave()
    {
        byte[] image = new byte[VcpuStateRules.XsaveSize];
        _random.NextBytes(image);
        image.AsSpan(XsaveLayout.Header, XsaveLayout.HeaderSize).Clear();
        image[XsaveLayout.Header] = (byte)(model.Xcr0Bits & 7);
        // What a processor keeps of FCW, FSW and FOP; FSW.ES and FSW.B follow from the exceptions and their masks.
        int control = (image[0] | (image[1] << 8)) & 0x1F3F | 0x40, status = (image[2] | (image[3] << 8)) & ~0x8080;
        status |= (status & ~control & 0x3F) != 0 ? 0x8080 : 0;
        BinaryPrimitives.WriteUInt16LittleEndian(image, (ushort)control);
        BinaryPrimitives.WriteUInt16LittleEndian(image.AsSpan(2), (ushort)status);
        image[5] = 0;
        image[7] &= 7;
        BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(24), (uint)Bits() & 0xFFFF);
        BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(28), 0xFFFF);
        for (int i = 0; i < 8; i++)
            image.AsSpan(32 + (i * 16) + 10, 6).Clear(); // beyond the 80 bits of a register
        image.AsSpan(416, 96).Clear();
        return image;
    }

    private InjectedEvent Event()
    {
        byte[] withCode = [Vector.DoubleFault, Vector.InvalidTss, Vector.SegmentNotPresent, Vector.StackFault, Vector.GeneralProtection, Vector.PageFault, Vector.AlignmentCheck];
        return _random.Next(4) switch
        {
            0 => new InjectedEvent(InjectedKind.ExternalInterrupt, (byte)Bits()),
            1 => new InjectedEvent(InjectedKind.NonMaskable, Vector.Nmi),
            2 => new InjectedEvent(InjectedKind.Exception, withCode[_random.Next(withCode.Length)], (uint)Bits()),
            _ => new InjectedEvent(InjectedKind.Exception, Vector.InvalidOpcode),
        };
    }
}
