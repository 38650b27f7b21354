using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter;

/// <summary>Turns code bytes into <see cref="Op"/>s: Iced decodes, the family that registered for the mnemonic binds.</summary>
public sealed unsafe class Decoder(CpuModel model)
{
    private readonly PointerReader _reader = new();
    private readonly Iced.Intel.Decoder?[] _decoders = new Iced.Intel.Decoder?[3];

    /// <summary>
    /// Decodes up to <paramref name="maxOps"/> instructions and adds a last op that sets RIP, unless the block ends itself.
    /// </summary>
    /// <param name="needsMore">The next instruction is not whole within <paramref name="length"/> bytes.</param>
    /// <returns>Instructions decoded; <paramref name="bytes"/> is their length.</returns>
    public int DecodeRun(byte* code, int length, ulong rip, uint mode, int maxOps, Op* ops, out int bytes, out bool needsMore)
    {
        Iced.Intel.Decoder decoder = DecoderFor(mode);
        _reader.Start(code, length);
        decoder.IP = rip;
        int count = 0;
        bytes = 0;
        needsMore = false;
        while (count < maxOps)
        {
            _reader.Mark();
            decoder.Decode(out Instruction instruction);
            if (instruction.IsInvalid && decoder.LastError == DecoderError.NoMoreBytes)
            {
                needsMore = true;
                break;
            }
            Op* op = ops + count;
            int taken = _reader.Taken;
            if (instruction.Code == Code.Pause)
                MendPause(ref instruction, _reader.Next);
            bool ends = Bind(instruction, op, mode, taken);
            count++;
            bytes += taken;
            if (ends)
                break;
            if (_reader.AtEnd)
                break;
        }
        if (count > 0)
            End(ops + count, ops[count - 1].NextRip);
        return count;
    }

    /// <summary>Fills one op. True if the instruction always leaves the block.</summary>
    private bool Bind(in Instruction instruction, Op* op, uint mode, int length)
    {
        *op = default;
        ulong mask = (mode & BlockMode.SizeMask) switch { BlockMode.Code16 => 0xFFFF, BlockMode.Code32 => 0xFFFF_FFFF, _ => ulong.MaxValue };
        op->Length = (byte)length;
        // Iced keeps 16-bit IPs in 16 bits; real CPUs let EIP run past 0xFFFF and fault on the limit.
        op->NextRip = instruction.IP + (ulong)length;
        if (mask == 0xFFFF_FFFF)
            op->NextRip &= mask;
        op->Code = (ushort)instruction.Code;
        op->Base = op->Index = OpBuilder.NoRegister;
        if (instruction.HasLockPrefix) op->Flags |= OpFlags.Lock;
        if (instruction.HasRepPrefix) op->Flags |= OpFlags.Rep;
        if (instruction.HasRepnePrefix) op->Flags |= OpFlags.Repne;
        bool vexInLegacyMode = (mode & BlockMode.Legacy) != 0 && instruction.Encoding != EncodingKind.Legacy;
        if (instruction.IsInvalid || vexInLegacyMode)
        {
            op->Run = &RaiseUndefined;
            return true;
        }
        OpBuilder builder = new(instruction, op, mode, model);
        delegate*<ref OpBuilder, bool> bind = Binders.For(instruction.Code);
        if (bind == null || !bind(ref builder) || op->Run == null)
        {
            op->Run = &RaiseUndefined;
            return true;
        }
        if (instruction.Op0Kind == OpKind.NearBranch64)
            op->Flags |= OpFlags.Relative;
        return builder.EndsBlock;
    }

    /// <summary>F3 90 is PAUSE, but with REX.B the 90 exchanges rAX and R8 whatever the F3; Iced calls it PAUSE all the same.</summary>
    private static void MendPause(ref Instruction instruction, byte* end)
    {
        byte rex = end[-2];
        if (instruction.Length < 3 || (rex & 0xF1) != 0x41)
            return;
        bool wide = (rex & 8) != 0, narrow = false;
        for (int i = 3; i <= instruction.Length; i++)
            narrow |= end[-i] == 0x66;
        instruction.Code = wide ? Code.Xchg_r64_RAX : narrow ? Code.Xchg_r16_AX : Code.Xchg_r32_EAX;
        instruction.Op0Kind = instruction.Op1Kind = OpKind.Register;
        instruction.Op0Register = wide ? Register.R8 : narrow ? Register.R8W : Register.R8D;
        instruction.Op1Register = wide ? Register.RAX : narrow ? Register.AX : Register.EAX;
    }

    private static int RaiseUndefined(SoftwareVcpu cpu, CpuState* s, Op* op) => cpu.Undefined();

    private static void End(Op* op, ulong rip)
    {
        *op = default;
        op->Run = &Continue;
        op->NextRip = rip;
    }

    /// <summary>The op after the last instruction of a block that nothing ended.</summary>
    private static int Continue(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        s->Rip = op->NextRip;
        return Status.BlockEnd;
    }

    private Iced.Intel.Decoder DecoderFor(uint mode)
    {
        uint size = mode & BlockMode.SizeMask;
        return _decoders[size] ??= Iced.Intel.Decoder.Create(BlockMode.Bitness(mode), _reader, DecoderOptions.None);
    }

    /// <summary>Feeds Iced from native memory without copying.</summary>
    private sealed class PointerReader : CodeReader
    {
        private byte* _next;
        private byte* _end;
        private byte* _mark;

        public void Start(byte* code, int length)
        {
            _next = _mark = code;
            _end = code + length;
        }

        public byte* Next => _next;
        public bool AtEnd => _next == _end;
        public int Taken => (int)(_next - _mark);
        public void Mark() => _mark = _next;
        public override int ReadByte() => _next < _end ? *_next++ : -1;
    }
}
