using System.Runtime.CompilerServices;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>The 512-byte image of x87, MMX and SSE state that FXSAVE and XSAVE share (SDM Vol. 1, 10.5.1), to and from a buffer.</summary>
internal static unsafe class LegacyArea
{
    public const int MxcsrOffset = 24;
    public const int MxcsrMaskOffset = 28;
    public const int StackOffset = 32;
    public const int XmmOffset = 160;
    public const uint MxcsrReset = 0x1F80;
    private const ushort ControlReset = 0x37F;
    private const uint MisalignedMask = 1 << 17;

    /// <summary>The MXCSR bits that exist.</summary>
    public static uint MxcsrMask(CpuModel model) => model.Has(Feature.MisalignSse) ? 0xFFFF | MisalignedMask : 0xFFFFu;

    /// <summary>XMM registers that an instruction of the current mode sees.</summary>
    public static int XmmCount(CpuState* s) => s->Is64 != 0 ? 16 : 8;

    public static ushort StatusWord(CpuState* s) => (ushort)((s->Fsw & ~0x3800) | (s->FpuTop & 7) << 11);

    /// <summary>x87 state, with 64-bit pointers (REX.W) or selectors and 32-bit offsets.</summary>
    public static void SaveX87(CpuState* s, byte* area, bool wide)
    {
        Unsafe.InitBlockUnaligned(area, 0, MxcsrOffset);
        *(ushort*)area = s->Fcw;
        *(ushort*)(area + 2) = StatusWord(s);
        area[4] = s->FpuTags;
        *(ushort*)(area + 6) = s->Fop;
        if (wide)
        {
            *(ulong*)(area + 8) = s->Fip;
            *(ulong*)(area + 16) = s->Fdp;
        }
        else
        {
            *(uint*)(area + 8) = (uint)s->Fip;
            *(ushort*)(area + 12) = s->Fcs;
            *(uint*)(area + 16) = (uint)s->Fdp;
            *(ushort*)(area + 20) = s->Fds;
        }
        for (int i = 0; i < 8; i++)
        {
            byte* slot = area + StackOffset + i * 16;
            ulong* register = s->Fpr + ((s->FpuTop + i) & 7) * 2;
            *(ulong*)slot = register[0];
            *(ulong*)(slot + 8) = (ushort)register[1];
        }
    }

    public static void LoadX87(CpuState* s, byte* area, bool wide)
    {
        s->Fcw = (ushort)(*(ushort*)area & 0x1F3F | 0x40);
        ushort status = *(ushort*)(area + 2);
        s->FpuTop = (byte)((status >> 11) & 7);
        // The summary bits follow from the exceptions and their masks, whatever the image says.
        bool unmasked = (status & ~s->Fcw & 0x3F) != 0;
        s->Fsw = (ushort)((status & ~0xB880) | (unmasked ? 0x8080 : 0));
        s->FpuTags = area[4];
        s->Fop = (ushort)(*(ushort*)(area + 6) & 0x7FF);
        if (wide)
        {
            s->Fip = *(ulong*)(area + 8);
            s->Fdp = *(ulong*)(area + 16);
            s->Fcs = s->Fds = 0;
        }
        else
        {
            s->Fip = *(uint*)(area + 8);
            s->Fcs = *(ushort*)(area + 12);
            s->Fdp = *(uint*)(area + 16);
            s->Fds = *(ushort*)(area + 20);
        }
        for (int i = 0; i < 8; i++)
        {
            byte* slot = area + StackOffset + i * 16;
            ulong* register = s->Fpr + ((s->FpuTop + i) & 7) * 2;
            register[0] = *(ulong*)slot;
            register[1] = *(ushort*)(slot + 8);
        }
    }

    /// <summary>The state of FNINIT with empty registers zeroed: the initial configuration of component 0 (SDM Vol. 1, 13.6).</summary>
    public static void InitX87(CpuState* s)
    {
        s->Fcw = ControlReset;
        s->Fsw = 0;
        s->FpuTop = 0;
        s->FpuTags = 0;
        s->Fop = 0;
        s->Fip = s->Fdp = 0;
        s->Fcs = s->Fds = 0;
        Unsafe.InitBlockUnaligned(s->Fpr, 0, 128);
    }

    public static bool IsInitX87(CpuState* s)
    {
        if (s->Fcw != ControlReset || (s->Fsw | s->FpuTop | s->FpuTags | s->Fop | s->Fcs | s->Fds) != 0 || (s->Fip | s->Fdp) != 0)
            return false;
        ulong any = 0;
        for (int i = 0; i < 8; i++)
            any |= s->Fpr[i * 2] | (ushort)s->Fpr[i * 2 + 1];
        return any == 0;
    }

    public static void SaveXmm(CpuState* s, byte* area, int count)
    {
        for (int i = 0; i < count; i++)
            Unsafe.CopyBlockUnaligned(area + XmmOffset + i * 16, s->Ymm + i * 4, 16);
    }

    public static void LoadXmm(CpuState* s, byte* area, int count)
    {
        for (int i = 0; i < count; i++)
            Unsafe.CopyBlockUnaligned(s->Ymm + i * 4, area + XmmOffset + i * 16, 16);
    }

    public static void InitXmm(CpuState* s, int count)
    {
        for (int i = 0; i < count; i++)
            Unsafe.InitBlockUnaligned(s->Ymm + i * 4, 0, 16);
    }
}
