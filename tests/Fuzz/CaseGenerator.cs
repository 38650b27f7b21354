using Iced.Intel;

namespace Trapline.Fuzz;

/// <summary>Makes whole cases: an instruction and a register file whose memory operands mostly fall into the data window.</summary>
public sealed unsafe class CaseGenerator(int bits, string filter)
{
    private readonly InstructionGenerator _instructions = new(bits, filter);

    public int Forms => _instructions.Forms;

    public Instruction Next(RandomSource random, NativeTest* test)
    {
        Span<byte> code = new(test->Code, 16);
        Instruction instruction = _instructions.Next(random, code);
        if (bits == 32 && !random.OneIn(8))
            _instructions.TryAim(ref instruction, code, (uint)Window(random));
        test->Length = (uint)instruction.Length;
        test->Bits = (uint)bits;
        test->Repeats = instruction.HasRepPrefix || instruction.HasRepnePrefix ? 1u : 0;
        NativeState* s = &test->In;
        State(random, s);
        s->Rip = NativeOracle.CodeBase + (random.OneIn(8) ? 4096u - (uint)random.Below(instruction.Length + 1) : 64u);
        AimAtWindow(random, instruction, s);
        return instruction;
    }

    /// <summary>Random registers and data; RSP points into the data.</summary>
    public void State(RandomSource random, NativeState* s)
    {
        s->Rflags = 0x202 | (random.Next() & 0xCD5); // arithmetic flags and DF
        if (!random.OneIn(4))
            s->Rflags &= ~0x400ul;
        for (int i = 0; i < 16; i++)
            s->Gpr[i] = bits == 64 ? random.Integer() : i < 8 ? (uint)random.Integer() : 0;
        s->Gpr[4] = Window(random);
        Extended(random, s->Xsave);
        Data(random, s->Data);
    }

    /// <summary>An address near the boundary of the window's two pages, now and then at its very end.</summary>
    private static ulong Window(RandomSource random)
    {
        ulong at = random.OneIn(32) ? 0x2000u - (ulong)random.Below(64) : 0x1000u - 256 + (ulong)random.Below(512);
        if (!random.OneIn(3))
            at &= ~31ul;
        return NativeOracle.DataBase + at;
    }

    private static void AimAtWindow(RandomSource random, in Instruction instruction, NativeState* s)
    {
        for (int i = 0; i < instruction.OpCount; i++)
        {
            switch (instruction.GetOpKind(i))
            {
                case OpKind.MemorySegRSI or OpKind.MemorySegESI or OpKind.MemorySegSI:
                    s->Gpr[6] = Window(random);
                    s->Gpr[1] = (ulong)random.Below(80);
                    break;
                case OpKind.MemoryESRDI or OpKind.MemoryESEDI or OpKind.MemoryESDI:
                case OpKind.MemorySegRDI or OpKind.MemorySegEDI or OpKind.MemorySegDI:
                    s->Gpr[7] = Window(random);
                    s->Gpr[1] = (ulong)random.Below(80);
                    break;
                case OpKind.Memory:
                    AimMemory(random, instruction, s);
                    break;
            }
        }
        if (instruction.Mnemonic is Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc
            && instruction.Op0Kind == OpKind.Memory && instruction.Op1Kind == OpKind.Register)
        {
            int register = instruction.Op1Register.GetNumber();
            if (register != instruction.MemoryBase.GetNumber() || instruction.MemoryBase == Register.None)
                s->Gpr[register] = (ulong)(random.Below(2000) - 1000);
            AimMemory(random, instruction, s);
        }
        if (instruction.Mnemonic is Mnemonic.Leave)
            s->Gpr[5] = Window(random);
        if (instruction.Mnemonic is Mnemonic.Div or Mnemonic.Idiv && random.OneIn(2))
            s->Gpr[2] = random.OneIn(2) ? 0 : (ulong)(random.Below(5) - 2);
    }

    private static void AimMemory(RandomSource random, in Instruction instruction, NativeState* s)
    {
        Register based = instruction.MemoryBase, index = instruction.MemoryIndex;
        if (index.IsXMM() || index.IsYMM())
        {
            // Gathers: small element offsets in the index register.
            byte* low = s->Xsave + 160 + index.GetNumber() * 16;
            byte* high = s->Xsave + 576 + index.GetNumber() * 16;
            bool wide = instruction.Mnemonic is Mnemonic.Vgatherqpd or Mnemonic.Vgatherqps or Mnemonic.Vpgatherqd or Mnemonic.Vpgatherqq;
            for (int i = 0; i < 16; i += wide ? 8 : 4)
            {
                long a = random.Below(64) - 32, b = random.Below(64) - 32;
                if (wide) { *(long*)(low + i) = a; *(long*)(high + i) = b; }
                else { *(int*)(low + i) = (int)a; *(int*)(high + i) = (int)b; }
            }
            if (based != Register.None && based.IsGPR())
                s->Gpr[based.GetNumber()] = Window(random) - instruction.MemoryDisplacement64;
            return;
        }
        if (random.OneIn(40) || based is Register.RIP or Register.EIP)
            return;
        ulong target = Window(random) - instruction.MemoryDisplacement64;
        if (based != Register.None)
        {
            if (index != Register.None)
            {
                if (index.GetNumber() == based.GetNumber())
                    return;
                s->Gpr[index.GetNumber()] = (ulong)random.Below(64);
                target -= s->Gpr[index.GetNumber()] * (ulong)instruction.MemoryIndexScale;
            }
            s->Gpr[based.GetNumber()] = target;
        }
        else if (index != Register.None)
        {
            s->Gpr[index.GetNumber()] = target / (ulong)instruction.MemoryIndexScale;
        }
    }

    private void Extended(RandomSource random, byte* xsave)
    {
        new Span<byte>(xsave, NativeState.XsaveSize).Clear();
        ushort control = random.Below(4) != 0 ? (ushort)0x37F : (ushort)(0x300 | (random.Next() & 0x3F));
        if (random.OneIn(3))
            control = (ushort)((control & 0xF0FFu) | ((uint)random.Next() & 0xC00) | Precisions[random.Below(4)]);
        *(ushort*)xsave = (ushort)(control | 0x40);
        ushort status = (ushort)(random.Next() & 0x7F00);
        if (random.OneIn(4))
            status |= (ushort)((uint)random.Next() & 0x7F & ((control & 0x3Fu) | 0x40));
        *(ushort*)(xsave + 2) = status;
        xsave[4] = random.OneIn(3) ? (byte)random.Next() : (byte)0xFF;
        for (int i = 0; i < 8; i++)
            Float80(random, xsave + 32 + i * 16);
        uint mxcsr = 0x1F80;
        if (random.OneIn(8))
            mxcsr = (uint)random.Next() & 0x1F80;
        if (random.OneIn(3))
            mxcsr |= (uint)random.Next() & 0xE07F;
        *(uint*)(xsave + 24) = mxcsr & 0xFFFF;
        *(uint*)(xsave + 28) = 0xFFFF;
        int registers = bits == 64 ? 16 : 8;
        for (int i = 0; i < registers * 2; i++)
        {
            *(ulong*)(xsave + 160 + i * 8) = random.Lane();
            *(ulong*)(xsave + 576 + i * 8) = random.Lane();
        }
        *(ulong*)(xsave + 512) = 7;
    }

    private static readonly uint[] Precisions = [0, 0x200, 0x300, 0x300];

    private static void Float80(RandomSource random, byte* p)
    {
        ulong r = random.Next();
        ulong significand = random.Below(6) switch { 0 => 1ul << 63, 1 => r | 1ul << 63, 2 => ulong.MaxValue, 3 => r >> random.Below(63), _ => r | 1ul << 63 };
        uint exponent = random.Below(8) switch
        {
            0 => 0,
            1 => 0x7FFF,
            2 => (uint)random.Below(70),
            3 => 0x7FFE - (uint)random.Below(70),
            4 or 5 => 0x3FFF + (uint)random.Below(130) - 65,
            _ => (uint)random.Next() & 0x7FFF,
        };
        if (exponent != 0 && exponent != 0x7FFF && !random.OneIn(20))
            significand |= 1ul << 63;
        *(ulong*)p = significand;
        *(ushort*)(p + 8) = (ushort)(exponent | (random.OneIn(2) ? 0x8000u : 0));
    }

    private static void Data(RandomSource random, byte* data)
    {
        ulong seed = random.Next() | 1;
        for (int i = 0; i < NativeState.DataSize; i += 8)
            *(ulong*)(data + i) = seed *= 0x5851_F42D_4C95_7F2D;
        for (int i = 0x1000 - 320; i < 0x1000 + 320; i += 8)
            *(ulong*)(data + i) = random.Lane();
        for (int i = 0; i < 4; i++)
            Float80(random, data + 0x1000 - 256 + random.Below(500));
    }
}
