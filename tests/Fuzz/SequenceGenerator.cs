using Iced.Intel;
using Trapline.Cpu.Translator.Frontend;

namespace Trapline.Fuzz;

/// <summary>Makes short programs: random instructions with forward jumps among them, mostly such as the translator takes, and registers that mostly point at data.</summary>
public sealed unsafe class SequenceGenerator(int bits, string filter = "")
{
    private readonly InstructionGenerator _instructions = new(bits, filter);
    private readonly CaseGenerator _states = new(bits, filter);
    private readonly List<byte[]> _parts = [];
    private readonly byte[][] _pool = new byte[16384][];
    private ulong _era = ulong.MaxValue;

    /// <summary>Fills the state, and <paramref name="code"/> with 2 to 12 instructions, which follow from the seed alone. Returns the code's length.</summary>
    public int Next(ulong seed, RandomSource random, NativeTest* test, Span<byte> code)
    {
        // Making an instruction is slow: a million programs share a pool.
        if (seed >> 20 != _era)
        {
            _era = seed >> 20;
            RandomSource source = new(_era + 0x5EED);
            for (int i = 0; i < _pool.Length; i++)
                _pool[i] = Make(source);
        }
        test->Bits = (uint)bits;
        _states.State(random, &test->In);
        int count = 2 + random.Below(11);
        _parts.Clear();
        for (int i = 0; i < count; i++)
            _parts.Add(Part(random, i == count - 1));
        int length = 0;
        for (int i = 0; i < count; i++)
        {
            Aim(random, i);
            _parts[i].CopyTo(code[length..]);
            length += _parts[i].Length;
        }
        NativeState* s = &test->In;
        s->Rip = NativeOracle.CodeBase + (random.OneIn(8) ? (ulong)(4096 - random.Below(length + 1)) : 64u + (ulong)random.Below(8));
        for (int i = 0; i < (bits == 64 ? 16 : 8); i++)
            if (i == 4 || !random.OneIn(3))
                s->Gpr[i] = NativeOracle.DataBase + 0x1000u - 512 + (ulong)(random.Below(64) * (random.OneIn(4) ? 1 : 16));
        if (random.OneIn(4))
            s->Gpr[1] = (ulong)random.Below(70); // shift counts
        return length;
    }

    private byte[] Part(RandomSource random, bool last)
    {
        if (!last && random.OneIn(6))
            return [(byte)(0x70 | random.Below(16)), 0];
        if (!last && random.OneIn(24))
            return [0xE8, 0, 0, 0, 0];
        if (random.OneIn(10))
            return [(byte)((random.OneIn(2) ? 0x50 : 0x58) | random.Below(8))];
        return (byte[])_pool[random.Below(_pool.Length)].Clone();
    }

    private byte[] Make(RandomSource random)
    {
        Span<byte> bytes = stackalloc byte[16];
        for (; ; )
        {
            Instruction instruction = _instructions.Next(random, bytes);
            if (instruction.FlowControl != FlowControl.Next && !random.OneIn(8))
                continue;
            if (CodeFacts.Of(instruction).Treatment == Treatment.Interpret && !random.OneIn(16))
                continue;
            bool aimed = bits == 32 && _instructions.TryAim(ref instruction, bytes, (uint)NativeOracle.DataBase + 0x1000u - 512 + (uint)random.Below(1024));
            if (!aimed && instruction.MemoryDisplSize > 1 && (uint)((int)instruction.MemoryDisplacement64 + 256) > 512 && !random.OneIn(32))
                continue;
            // A segment with a base now and then; 32-bit code is what has more than FS and GS.
            if (bits == 32 && instruction.Length < 14 && random.OneIn(12))
                return [(byte)(0x64 + random.Below(2)), .. bytes[..instruction.Length]];
            return bytes[..instruction.Length].ToArray();
        }
    }

    /// <summary>Points a jump or call at the beginning of a later instruction, or the program's end.</summary>
    private void Aim(RandomSource random, int from)
    {
        byte[] part = _parts[from];
        bool jump = part.Length == 2 && (part[0] & 0xF0) == 0x70, call = part.Length == 5 && part[0] == 0xE8 && part.AsSpan(1).IndexOfAnyExcept((byte)0) < 0;
        if (!jump && !call)
            return;
        int to = from + 1 + random.Below(_parts.Count - from), distance = 0;
        for (int i = from + 1; i < to; i++)
            distance += _parts[i].Length;
        part[1] = (byte)(jump ? Math.Min(distance, 127) : distance);
    }
}
