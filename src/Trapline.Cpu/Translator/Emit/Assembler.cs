using System.Runtime.InteropServices;

namespace Trapline.Cpu.Translator.Emit;

/// <summary>Operations of the 00-3F opcode rows, in encoding order.</summary>
public enum Alu
{
    Add, Or, Adc, Sbb, And, Sub, Xor, Cmp,
}

/// <summary>Condition codes in encoding order (SDM Vol. 2, appendix B.1.4.7).</summary>
public enum Condition
{
    Overflow, NotOverflow, Below, AboveOrEqual, Equal, NotEqual, BelowOrEqual, Above,
    Sign, NotSign, Parity, NotParity, Less, GreaterOrEqual, LessOrEqual, Greater,
}

/// <summary>A displacement that leads to where a check fails.</summary>
/// <param name="Near">It is of 8 bits.</param>
public readonly record struct Rejection(nint Place, bool Near);

/// <summary>Writes x86-64 machine code through the writable view of the code cache. Addresses it gives and takes are of the executable view.</summary>
public unsafe struct Assembler(byte* writable, nint toExecutable)
{
    /// <summary>Where 32-bit displacements of jumps and calls are, from the start; null if nobody wants to know.</summary>
    public List<int>? Branches { get; set; }

    private readonly byte* _start = writable;
    private byte* _at = writable;

    /// <summary>Executable address of the next byte.</summary>
    public readonly nint Here => (nint)_at + toExecutable;

    public readonly int Length => (int)(_at - _start);

    public readonly byte* Writable(nint executable) => (byte*)(executable - toExecutable);

    public void Byte(int value) => *_at++ = (byte)value;

    public void Int32(int value)
    {
        *(int*)_at = value;
        _at += 4;
    }

    public void Int64(long value)
    {
        *(long*)_at = value;
        _at += 8;
    }

    public void Bytes(byte* source, int count)
    {
        Buffer.MemoryCopy(source, _at, count, count);
        _at += count;
    }

    public void Bytes(ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(new Span<byte>(_at, bytes.Length));
        _at += bytes.Length;
    }

    public void Align(int boundary)
    {
        while ((Here & (boundary - 1)) != 0)
            Byte(0xCC);
    }

    /// <summary>REX (if needed), opcode, ModRM with a register operand. <paramref name="opcode"/> holds up to three bytes, first byte lowest.</summary>
    public void OpRegister(bool wide, int opcode, int reg, int rm)
    {
        Rex(wide, reg, 0, rm, force: false);
        Opcode(opcode);
        Byte(0xC0 | (reg & 7) << 3 | (rm & 7));
    }

    /// <summary>REX (if needed), opcode, ModRM with a memory operand.</summary>
    public void OpMemory(bool wide, int opcode, int reg, in HostAddress address)
    {
        Rex(wide, reg, address.Index, address.Base, force: false);
        Opcode(opcode);
        Operand(reg, address);
    }

    /// <summary>A REX prefix; register numbers of -1 count as 0.</summary>
    public void Rex(bool wide, int reg, int index, int rm, bool force)
    {
        int rex = (wide ? 8 : 0) | (reg > 7 ? 4 : 0) | (index > 7 ? 2 : 0) | (rm > 7 ? 1 : 0);
        if (rex != 0 || force)
            Byte(0x40 | rex);
    }

    private void Opcode(int opcode)
    {
        Byte(opcode);
        if (opcode > 0xFF)
            Byte(opcode >> 8);
        if (opcode > 0xFFFF)
            Byte(opcode >> 16);
    }

    /// <summary>ModRM, SIB and displacement of a memory operand.</summary>
    public void Operand(int reg, in HostAddress a)
    {
        int r = (reg & 7) << 3;
        if (a.Base == HostRegister.None)
        {
            Byte(r | 4);
            Byte(a.Scale << 6 | (a.Index == HostRegister.None ? 4 : a.Index & 7) << 3 | 5);
            Int32(a.Disp);
            return;
        }
        bool sib = a.Index != HostRegister.None || (a.Base & 7) == 4;
        int mod = a.Disp == 0 && (a.Base & 7) != 5 ? 0 : a.Disp == (sbyte)a.Disp ? 1 : 2;
        Byte(mod << 6 | r | (sib ? 4 : a.Base & 7));
        if (sib)
            Byte(a.Scale << 6 | (a.Index == HostRegister.None ? 4 : a.Index & 7) << 3 | (a.Base & 7));
        if (mod == 1)
            Byte(a.Disp);
        else if (mod == 2)
            Int32(a.Disp);
    }

    public void Move(int to, int from)
    {
        if (to != from)
            OpRegister(true, 0x8B, to, from);
    }

    public void Move32(int to, int from) => OpRegister(false, 0x8B, to, from);

    public void Load(int register, in HostAddress from) => OpMemory(true, 0x8B, register, from);
    public void Load32(int register, in HostAddress from) => OpMemory(false, 0x8B, register, from);
    public void Store(in HostAddress to, int register) => OpMemory(true, 0x89, register, to);
    public void Store32(in HostAddress to, int register) => OpMemory(false, 0x89, register, to);

    public void StoreImmediate(in HostAddress to, int value, bool wide)
    {
        OpMemory(wide, 0xC7, 0, to);
        Int32(value);
    }

    public void Lea(int register, in HostAddress address) => OpMemory(true, 0x8D, register, address);
    public void Lea32(int register, in HostAddress address) => OpMemory(false, 0x8D, register, address);

    /// <summary>The shortest move of a constant; never touches flags.</summary>
    public void Constant(int register, ulong value)
    {
        if (value <= uint.MaxValue)
        {
            Rex(false, 0, 0, register, force: false);
            Byte(0xB8 | (register & 7));
            Int32((int)(uint)value);
        }
        else if ((ulong)(long)(int)value == value)
        {
            OpRegister(true, 0xC7, 0, register);
            Int32((int)value);
        }
        else
        {
            LongConstant(register, value);
        }
    }

    /// <summary>A move of a constant in ten bytes, whatever it is.</summary>
    public void LongConstant(int register, ulong value)
    {
        Rex(true, 0, 0, register, force: false);
        Byte(0xB8 | (register & 7));
        Int64((long)value);
    }

    public void AluRegisters(Alu op, int to, int from, bool wide = true) => OpRegister(wide, (int)op * 8 + 3, to, from);

    public void AluMemory(Alu op, int to, in HostAddress from, bool wide = true) => OpMemory(wide, (int)op * 8 + 3, to, from);

    public void AluImmediate(Alu op, int register, int value, bool wide = true)
    {
        bool small = value == (sbyte)value;
        OpRegister(wide, small ? 0x83 : 0x81, (int)op, register);
        Immediate(value, small);
    }

    public void AluMemoryImmediate(Alu op, in HostAddress to, int value, bool wide)
    {
        bool small = value == (sbyte)value;
        OpMemory(wide, small ? 0x83 : 0x81, (int)op, to);
        Immediate(value, small);
    }

    private void Immediate(int value, bool small)
    {
        if (small)
            Byte(value);
        else
            Int32(value);
    }

    /// <summary>RORX r32, r32, imm8 (BMI2): a rotate that leaves flags alone.</summary>
    public void RotateRight32(int to, int from, int count)
    {
        Byte(0xC4);
        Byte((to > 7 ? 0 : 0x80) | 0x40 | (from > 7 ? 0 : 0x20) | 3);
        Byte(0x7B);
        Byte(0xF0);
        Byte(0xC0 | (to & 7) << 3 | (from & 7));
        Byte(count);
    }

    /// <summary>PDEP r32, r32, r32 (BMI2): low bits to the places that a mask names; leaves flags alone.</summary>
    public void DepositBits32(int to, int from, int mask)
    {
        Byte(0xC4);
        Byte((to > 7 ? 0 : 0x80) | 0x40 | (mask > 7 ? 0 : 0x20) | 2);
        Byte((~from & 15) << 3 | 3);
        Byte(0xF5);
        Byte(0xC0 | (to & 7) << 3 | (mask & 7));
    }

    /// <summary>PEXT r64, r64, r64 (BMI2): the bits that a mask selects, side by side; leaves flags alone.</summary>
    public void ExtractBits(int to, int from, int mask)
    {
        Byte(0xC4);
        Byte((to > 7 ? 0 : 0x80) | 0x40 | (mask > 7 ? 0 : 0x20) | 2);
        Byte(0x80 | (~from & 15) << 3 | 2);
        Byte(0xF5);
        Byte(0xC0 | (to & 7) << 3 | (mask & 7));
    }

    /// <summary>The same with the mask in memory, at an absolute address.</summary>
    public void ExtractBits(int to, int from, in HostAddress mask, bool wide)
    {
        Byte(0xC4);
        Byte((to > 7 ? 0 : 0x80) | 0x60 | 2);
        Byte((wide ? 0x80 : 0) | (~from & 15) << 3 | 2);
        Byte(0xF5);
        Operand(to, mask);
    }

    /// <summary>NOT; leaves flags alone.</summary>
    public void Not(int register) => OpRegister(true, 0xF7, 2, register);

    public void Push(int register)
    {
        Rex(false, 0, 0, register, force: false);
        Byte(0x50 | (register & 7));
    }

    public void Pop(int register)
    {
        Rex(false, 0, 0, register, force: false);
        Byte(0x58 | (register & 7));
    }

    /// <summary>Instructions that do nothing, as few as can be (SDM Vol. 2, table 4-12).</summary>
    public void Nops(int bytes)
    {
        for (; bytes > 0; bytes -= 9)
            Bytes(NopOf(Math.Min(bytes, 9)));
    }

    private static ReadOnlySpan<byte> NopOf(int bytes) => bytes switch
    {
        1 => [0x90],
        2 => [0x66, 0x90],
        3 => [0x0F, 0x1F, 0x00],
        4 => [0x0F, 0x1F, 0x40, 0],
        5 => [0x0F, 0x1F, 0x44, 0, 0],
        6 => [0x66, 0x0F, 0x1F, 0x44, 0, 0],
        7 => [0x0F, 0x1F, 0x80, 0, 0, 0, 0],
        8 => [0x0F, 0x1F, 0x84, 0, 0, 0, 0, 0],
        _ => [0x66, 0x0F, 0x1F, 0x84, 0, 0, 0, 0, 0],
    };

    /// <summary>LAHF; SETO AL: the arithmetic flags in AX.</summary>
    public void FlagsToAx()
    {
        Byte(0x9F);
        Byte(0x0F);
        Byte(0x90);
        Byte(0xC0);
    }

    /// <summary>ADD AL, 7Fh; SAHF: the inverse of <see cref="FlagsToAx"/>.</summary>
    public void FlagsFromAx()
    {
        Byte(0x04);
        Byte(0x7F);
        Byte(0x9E);
    }

    /// <summary>Jcc rel32. Returns where the displacement is, for <see cref="Patch"/>.</summary>
    public nint Jump(Condition condition, nint target = 0)
    {
        Byte(0x0F);
        Byte(0x80 | (int)condition);
        return Relative(target);
    }

    public nint Jump(nint target = 0)
    {
        Byte(0xE9);
        return Relative(target);
    }

    public nint Call(nint target = 0)
    {
        Byte(0xE8);
        return Relative(target);
    }

    /// <summary>Jcc rel8 to a place not far ahead; <see cref="PatchShort"/> gives it.</summary>
    public nint JumpShort(Condition condition)
    {
        Byte(0x70 | (int)condition);
        Byte(0);
        return Here - 1;
    }

    /// <summary>JRCXZ rel8.</summary>
    public nint JumpIfRcxZero()
    {
        Byte(0xE3);
        Byte(0);
        return Here - 1;
    }

    /// <summary>Makes a rejection lead here.</summary>
    public readonly void LandHere(in Rejection rejection)
    {
        if (rejection.Near)
            PatchShortHere(rejection.Place);
        else
            PatchHere(rejection.Place);
    }

    private nint Relative(nint target)
    {
        nint place = Here;
        Branches?.Add(Length);
        Int32(target == 0 ? 0 : (int)(target - (place + 4)));
        return place;
    }

    /// <summary>Makes the 32-bit displacement at <paramref name="place"/> lead to <paramref name="target"/>.</summary>
    public readonly void Patch(nint place, nint target) => Marshal.WriteInt32((nint)Writable(place), (int)(target - (place + 4)));

    public readonly void PatchShort(nint place, nint target) => *Writable(place) = (byte)checked((sbyte)(target - (place + 1)));

    public readonly void PatchHere(nint place) => Patch(place, Here);
    public readonly void PatchShortHere(nint place) => PatchShort(place, Here);
}
