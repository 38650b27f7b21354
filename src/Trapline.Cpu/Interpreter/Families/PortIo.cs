using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>IN, OUT, INS, OUTS with the checks of IOPL and the TSS's I/O bitmap; the access itself goes through the I/O seam.</summary>
public static unsafe class PortIo
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.In, &BindIn);
        r.Add(Mnemonic.Out, &BindOut);
        r.Add(Mnemonic.Insb, &BindString);
        r.Add(Mnemonic.Insw, &BindString);
        r.Add(Mnemonic.Insd, &BindString);
        r.Add(Mnemonic.Outsb, &BindString);
        r.Add(Mnemonic.Outsw, &BindString);
        r.Add(Mnemonic.Outsd, &BindString);
    }

    /// <summary>Iterations of a REP form before the loop looks at the world again.</summary>
    private const int Bulk = 4096;

    private static bool BindIn(ref OpBuilder b)
    {
        b.EndsBlock = true;
        b.Op->OperandSize = (byte)b.RegisterSize(0);
        b.Op->Imm = b.IsRegister(1) ? 0u : b.Instruction.Immediate8;
        b.Op->Run = b.IsRegister(1) ? &InDx : &InImm;
        return true;
    }

    private static bool BindOut(ref OpBuilder b)
    {
        b.EndsBlock = true;
        b.Op->OperandSize = (byte)b.RegisterSize(1);
        b.Op->Imm = b.IsRegister(0) ? 0u : b.Instruction.Immediate8;
        b.Op->Run = b.IsRegister(0) ? &OutDx : &OutImm;
        return true;
    }

    private static int InDx(SoftwareVcpu cpu, CpuState* s, Op* op) => In(cpu, s, op, (ushort)s->Gpr[2]);

    private static int InImm(SoftwareVcpu cpu, CpuState* s, Op* op) => In(cpu, s, op, (ushort)op->Imm);

    private static int OutDx(SoftwareVcpu cpu, CpuState* s, Op* op) => Out(cpu, s, op, (ushort)s->Gpr[2]);

    private static int OutImm(SoftwareVcpu cpu, CpuState* s, Op* op) => Out(cpu, s, op, (ushort)op->Imm);

    private static int In(SoftwareVcpu cpu, CpuState* s, Op* op, ushort port)
    {
        int size = op->OperandSize;
        if (!cpu.PortAllowed(port, size))
            return Status.Fault;
        s->Rip = op->NextRip;
        uint value = cpu.Io.PortIn(cpu.Index, port, size);
        cpu.MatchPortBreakpoints(port, size);
        switch (size)
        {
            case 1: *(byte*)s->Gpr = (byte)value; break;
            case 2: *(ushort*)s->Gpr = (ushort)value; break;
            default: s->Gpr[0] = value; break;
        }
        return Status.BlockEnd;
    }

    private static int Out(SoftwareVcpu cpu, CpuState* s, Op* op, ushort port)
    {
        int size = op->OperandSize;
        if (!cpu.PortAllowed(port, size))
            return Status.Fault;
        s->Rip = op->NextRip;
        uint value = size switch { 1 => (byte)s->Gpr[0], 2 => (ushort)s->Gpr[0], _ => (uint)s->Gpr[0] };
        cpu.Io.PortOut(cpu.Index, port, size, value);
        cpu.MatchPortBreakpoints(port, size);
        return Status.BlockEnd;
    }

    private static bool BindString(ref OpBuilder b)
    {
        Op* op = b.Op;
        b.EndsBlock = true;
        Mnemonic mnemonic = b.Instruction.Mnemonic;
        bool input = mnemonic is Mnemonic.Insb or Mnemonic.Insw or Mnemonic.Insd;
        op->OperandSize = (byte)(mnemonic switch { Mnemonic.Insb or Mnemonic.Outsb => 1, Mnemonic.Insw or Mnemonic.Outsw => 2, _ => 4 });
        OpKind kind = b.Kind(input ? 0 : 1);
        op->AddressSize = (byte)(kind switch
        {
            OpKind.MemoryESDI or OpKind.MemorySegSI => 2,
            OpKind.MemoryESEDI or OpKind.MemorySegESI => 4,
            _ => 8,
        });
        op->Segment = (byte)(input ? SegmentIndex.Es : OpBuilder.SegmentNumber(b.Instruction.MemorySegment));
        op->Run = input ? &InString : &OutString;
        return true;
    }

    private static ulong AddressMask(Op* op) => op->AddressSize switch { 2 => 0xFFFF, 4 => 0xFFFF_FFFF, _ => ulong.MaxValue };

    /// <summary>Moves an address or count register: 32-bit results clear the upper half, 16-bit ones keep the rest.</summary>
    private static void SetIndex(ulong* register, Op* op, ulong value)
    {
        if (op->AddressSize == 2)
            *(ushort*)register = (ushort)value;
        else
            *register = op->AddressSize == 4 ? (uint)value : value;
    }

    private static int InString(SoftwareVcpu cpu, CpuState* s, Op* op) => Run(cpu, s, op, input: true);

    private static int OutString(SoftwareVcpu cpu, CpuState* s, Op* op) => Run(cpu, s, op, input: false);

    private static int Run(SoftwareVcpu cpu, CpuState* s, Op* op, bool input)
    {
        bool repeats = (op->Flags & (OpFlags.Rep | OpFlags.Repne)) != 0;
        ulong mask = AddressMask(op);
        ushort port = (ushort)s->Gpr[2];
        int size = op->OperandSize;
        ulong* index = s->Gpr + (input ? 7 : 6);
        for (int i = 0; i < Bulk; i++)
        {
            if (repeats && (s->Gpr[1] & mask) == 0)
            {
                s->Rip = op->NextRip;
                return Status.BlockEnd;
            }
            if (!cpu.PortAllowed(port, size)
                || !cpu.SegmentLinear(op->Segment, *index & mask, size, input, out ulong linear)
                || !(input ? InOne(cpu, op, port, size, linear) : OutOne(cpu, op, port, size, linear)))
                return Status.Fault;
            SetIndex(index, op, (s->RFlags & Rflags.Df) != 0 ? *index - (ulong)size : *index + (ulong)size);
            if (!repeats)
            {
                s->Rip = op->NextRip;
                return Status.BlockEnd;
            }
            SetIndex(s->Gpr + 1, op, s->Gpr[1] - 1);
            if (cpu.AttentionWanted)
                break;
        }
        s->Rip = (s->Gpr[1] & mask) == 0 ? op->NextRip : op->Rip;
        return Status.BlockEnd;
    }

    private static bool InOne(SoftwareVcpu cpu, Op* op, ushort port, int size, ulong linear)
    {
        // The destination is checked first: what is read from a device cannot be read again.
        if (!cpu.Probe(linear, size, op->Segment, write: true))
            return false;
        uint value = cpu.Io.PortIn(cpu.Index, port, size);
        cpu.MatchPortBreakpoints(port, size);
        return cpu.StoreSlow(linear, size, op->Segment, value);
    }

    private static bool OutOne(SoftwareVcpu cpu, Op* op, ushort port, int size, ulong linear)
    {
        if (!cpu.LoadSlow(linear, size, op->Segment, out ulong value))
            return false;
        cpu.Io.PortOut(cpu.Index, port, size, (uint)value);
        cpu.MatchPortBreakpoints(port, size);
        return true;
    }
}
