using Iced.Intel;

namespace Trapline.Fuzz;

/// <summary>Makes the bytes of a random instruction: a form that Iced knows, with random prefixes, operands and immediates.</summary>
public sealed class InstructionGenerator
{
    private readonly Code[] _codes;
    private readonly byte[] _bytes = new byte[16];
    private readonly ByteArrayCodeReader _reader;
    private readonly int _bits;

    /// <param name="filter">Mnemonics, separated by commas, each exact or ending in *; empty for all.</param>
    public InstructionGenerator(int bits, string filter)
    {
        _bits = bits;
        _reader = new ByteArrayCodeReader(_bytes);
        _codes = [.. Enum.GetValues<Code>().Where(c => InstructionScope.Includes(c, bits)
            && (filter.Length == 0 || filter.Split(',').Any(f => Matches(c.Mnemonic().ToString(), f))))];
    }

    public int Forms => _codes.Length;

    /// <summary>"add" is ADD alone; "add*" is everything that starts so.</summary>
    private static bool Matches(string mnemonic, string pattern) => pattern.EndsWith('*')
        ? mnemonic.StartsWith(pattern[..^1], StringComparison.OrdinalIgnoreCase)
        : mnemonic.Equals(pattern, StringComparison.OrdinalIgnoreCase);

    /// <summary>Writes an instruction to <paramref name="bytes"/> (16 bytes).</summary>
    public Instruction Next(RandomSource random, Span<byte> bytes)
    {
        for (; ; )
        {
            Code code = _codes[random.Below(_codes.Length)];
            for (int attempt = 0; attempt < 40; attempt++)
            {
                Encode(code.ToOpCode(), random, relaxed: attempt > 20);
                _reader.Position = 0;
                Decoder decoder = Decoder.Create(_bits, _reader, DecoderOptions.None);
                decoder.IP = NativeOracle.CodeBase;
                decoder.Decode(out Instruction instruction);
                if (instruction.Code != code || !InstructionScope.Includes(instruction, _bits))
                    continue;
                _bytes.CopyTo(bytes);
                return instruction;
            }
        }
    }

    /// <summary>Gives an instruction with an absolute 32-bit address another one, in <paramref name="bytes"/> too. False: it has none.</summary>
    public bool TryAim(ref Instruction instruction, Span<byte> bytes, uint target)
    {
        if (instruction.MemoryBase != Register.None || instruction.MemoryIndex != Register.None || instruction.MemoryDisplSize != 4)
            return false;
        ConstantOffsets offsets = At(instruction.IP, bytes, out _);
        BitConverter.TryWriteBytes(bytes[offsets.DisplacementOffset..], target);
        At(instruction.IP, bytes, out instruction);
        return true;
    }

    private ConstantOffsets At(ulong ip, ReadOnlySpan<byte> bytes, out Instruction instruction)
    {
        bytes[..16].CopyTo(_bytes);
        _reader.Position = 0;
        Decoder decoder = Decoder.Create(_bits, _reader, DecoderOptions.None);
        decoder.IP = ip;
        decoder.Decode(out instruction);
        return decoder.GetConstantOffsets(instruction);
    }

    private void Encode(OpCodeInfo info, RandomSource random, bool relaxed)
    {
        int at = 0;
        for (int i = 0; i < 16; i += 8)
            BitConverter.TryWriteBytes(_bytes.AsSpan(i), random.Next());
        if (info.Encoding == EncodingKind.VEX)
        {
            int pp = info.MandatoryPrefix switch { MandatoryPrefix.P66 => 1, MandatoryPrefix.PF3 => 2, MandatoryPrefix.PF2 => 3, _ => 0 };
            int map = info.Table switch { OpCodeTableKind.T0F38 => 2, OpCodeTableKind.T0F3A => 3, _ => 1 };
            int l = info.IsLIG ? random.Below(2) : (int)info.L & 1;
            int w = info.IsWIG ? random.Below(2) : (int)info.W & 1;
            int vvvv = relaxed ? 15 : random.Below(16);
            int rxb = _bits == 64 ? random.Below(8) : 7;
            if (_bits == 32)
                vvvv |= 8;
            _bytes[at++] = 0xC4;
            _bytes[at++] = (byte)(rxb << 5 | map);
            _bytes[at++] = (byte)(w << 7 | vvvv << 3 | l << 2 | pp);
            _bytes[at++] = (byte)info.OpCode;
        }
        else
        {
            bool wantsRep = info.CanUseRepPrefix && random.OneIn(2), wantsRepne = info.CanUseRepnePrefix && random.OneIn(4);
            if (info.CanUseLockPrefix && random.OneIn(4))
                _bytes[at++] = 0xF0;
            if (info.AddressSize != 0 ? info.AddressSize != _bits : random.OneIn(12))
                _bytes[at++] = 0x67;
            bool operandPrefix = info.OperandSize == 16 || (info.OperandSize == 0 && info.MandatoryPrefix is MandatoryPrefix.None && random.OneIn(16));
            if (operandPrefix || info.MandatoryPrefix == MandatoryPrefix.P66)
                _bytes[at++] = 0x66;
            if (info.MandatoryPrefix == MandatoryPrefix.PF3 || wantsRep)
                _bytes[at++] = 0xF3;
            else if (info.MandatoryPrefix == MandatoryPrefix.PF2 || wantsRepne)
                _bytes[at++] = 0xF2;
            if (_bits == 64)
            {
                int rex = 0x40 | random.Below(8);
                bool w = info.W == 1 || (info.OperandSize == 64 && random.Below(8) != 0);
                if (w)
                    rex |= 8;
                if (w || random.OneIn(2))
                    _bytes[at++] = (byte)rex;
            }
            switch (info.Table)
            {
                case OpCodeTableKind.T0F: _bytes[at++] = 0x0F; break;
                case OpCodeTableKind.T0F38: _bytes[at++] = 0x0F; _bytes[at++] = 0x38; break;
                case OpCodeTableKind.T0F3A: _bytes[at++] = 0x0F; _bytes[at++] = 0x3A; break;
            }
            uint opcode = info.OpCode;
            if (info.OpCodeLength == 2)
                _bytes[at++] = (byte)(opcode >> 8);
            bool inOpcode = Enumerable.Range(0, info.OpCount).Any(i => info.GetOpKind(i).ToString().EndsWith("_opcode", StringComparison.Ordinal));
            _bytes[at++] = (byte)(inOpcode ? opcode | (uint)random.Below(8) : opcode);
            if (info.OpCodeLength == 2 && !info.IsGroup)
                return; // x87 and the like: the second byte is the ModRM
        }
        byte modrm = _bytes[at];
        if (random.OneIn(2))
            modrm |= 0xC0;
        if (info.IsGroup)
            modrm = (byte)((modrm & 0xC7) | info.GroupIndex << 3);
        if (info.IsRmGroup)
            modrm = (byte)((modrm & 0xF8) | info.RmGroupIndex);
        _bytes[at] = modrm;
    }
}
