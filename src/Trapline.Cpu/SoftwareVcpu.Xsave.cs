using System.Buffers.Binary;
using Trapline.Cpu.Interpreter.Families;
using Trapline.X86;

namespace Trapline.Cpu;

/// <summary>The XSAVE image in which x87, SSE and AVX state travels between engines.</summary>
public sealed unsafe partial class SoftwareVcpu
{
    /// <summary>No component but the x87 registers as RESET# leaves them, and MXCSR (SDM Vol. 3, table 10-1).</summary>
    private static readonly byte[] XsaveAtReset = CreateXsaveAtReset();

    private static byte[] CreateXsaveAtReset()
    {
        byte[] image = new byte[VcpuStateRules.XsaveSize];
        image[0] = 0x40;
        image[4] = 0xFF;
        BinaryPrimitives.WriteUInt32LittleEndian(image.AsSpan(24), 0x1F80);
        image[XsaveLayout.Header] = (byte)XsaveLayout.X87;
        return image;
    }

    /// <summary>The standard (uncompacted) XSAVE image: x87, SSE, AVX (SDM Vol. 1, 13.4).</summary>
    private byte[] ExportXsave()
    {
        CpuState* s = State;
        byte[] image = new byte[VcpuStateRules.XsaveSize];
        Span<byte> to = image;
        BinaryPrimitives.WriteUInt16LittleEndian(to, s->Fcw);
        BinaryPrimitives.WriteUInt16LittleEndian(to[2..], (ushort)((s->Fsw & ~0x3800) | (s->FpuTop << 11)));
        to[4] = s->FpuTags;
        BinaryPrimitives.WriteUInt16LittleEndian(to[6..], s->Fop);
        BinaryPrimitives.WriteUInt64LittleEndian(to[8..], s->Fip);
        BinaryPrimitives.WriteUInt64LittleEndian(to[16..], s->Fdp);
        BinaryPrimitives.WriteUInt32LittleEndian(to[24..], s->Mxcsr);
        BinaryPrimitives.WriteUInt32LittleEndian(to[28..], 0xFFFF);
        for (int i = 0; i < 8; i++)
        {
            int physical = (s->FpuTop + i) & 7;
            BinaryPrimitives.WriteUInt64LittleEndian(to[(32 + i * 16)..], s->Fpr[physical * 2]);
            BinaryPrimitives.WriteUInt16LittleEndian(to[(40 + i * 16)..], (ushort)s->Fpr[physical * 2 + 1]);
        }
        for (int i = 0; i < 16; i++)
            for (int half = 0; half < 2; half++)
            {
                BinaryPrimitives.WriteUInt64LittleEndian(to[(160 + i * 16 + half * 8)..], s->Ymm[i * 4 + half]);
                BinaryPrimitives.WriteUInt64LittleEndian(to[(576 + i * 16 + half * 8)..], s->Ymm[i * 4 + 2 + half]);
            }
        BinaryPrimitives.WriteUInt64LittleEndian(to[XsaveLayout.Header..], _model.Xcr0Bits & ~XsaveLayout.Pkru); // XSTATE_BV
        return image;
    }

    private void ImportXsave(ReadOnlySpan<byte> from)
    {
        CpuState* s = State;
        if (from.IsEmpty)
            from = XsaveAtReset;
        ulong present = BinaryPrimitives.ReadUInt64LittleEndian(from[512..]);
        bool x87 = (present & 1) != 0, sse = (present & 2) != 0, avx = (present & 4) != 0;
        if (x87)
        {
            fixed (byte* area = from)
                LegacyArea.LoadX87(s, area, wide: true);
        }
        else
        {
            LegacyArea.InitX87(s);
        }
        s->Mxcsr = BinaryPrimitives.ReadUInt32LittleEndian(from[24..]) & 0xFFFF;
        for (int i = 0; i < 16; i++)
            for (int half = 0; half < 2; half++)
            {
                s->Ymm[i * 4 + half] = sse ? BinaryPrimitives.ReadUInt64LittleEndian(from[(160 + i * 16 + half * 8)..]) : 0;
                s->Ymm[i * 4 + 2 + half] = avx ? BinaryPrimitives.ReadUInt64LittleEndian(from[(576 + i * 16 + half * 8)..]) : 0;
            }
    }
}
