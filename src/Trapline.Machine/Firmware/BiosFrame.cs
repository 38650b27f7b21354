using System.Buffers.Binary;
using Trapline.Core;

namespace Trapline.Machine.Firmware;

/// <summary>A caller's registers as <see cref="BiosImage"/>'s stub pushed them.</summary>
internal ref struct BiosFrame(IGuestMemory memory, Span<byte> bytes)
{
    public const int Length = 44;

    private readonly Span<byte> _bytes = bytes;

    public IGuestMemory Memory => memory;

    public uint Edi { readonly get => Get(0); set => Set(0, value); }
    public uint Esi { readonly get => Get(4); set => Set(4, value); }
    public uint Ebx { readonly get => Get(16); set => Set(16, value); }
    public uint Edx { readonly get => Get(20); set => Set(20, value); }
    public uint Ecx { readonly get => Get(24); set => Set(24, value); }
    public uint Eax { readonly get => Get(28); set => Set(28, value); }

    public ushort Ax { readonly get => (ushort)Eax; set => Eax = (Eax & 0xFFFF_0000) | value; }
    public ushort Bx { readonly get => (ushort)Ebx; set => Ebx = (Ebx & 0xFFFF_0000) | value; }
    public ushort Cx { readonly get => (ushort)Ecx; set => Ecx = (Ecx & 0xFFFF_0000) | value; }
    public ushort Dx { readonly get => (ushort)Edx; set => Edx = (Edx & 0xFFFF_0000) | value; }
    public byte Al { readonly get => (byte)Eax; set => Eax = (Eax & 0xFFFF_FF00) | value; }
    public byte Ah { readonly get => (byte)(Eax >> 8); set => Eax = (Eax & 0xFFFF_00FF) | ((uint)value << 8); }
    public readonly byte Bl => (byte)Ebx;
    public readonly byte Bh => (byte)(Ebx >> 8);
    public readonly byte Cl => (byte)Ecx;
    public readonly byte Ch => (byte)(Ecx >> 8);
    public readonly byte Dl => (byte)Edx;
    public readonly byte Dh => (byte)(Edx >> 8);
    public readonly ushort Bp => (ushort)Get(8);
    public ushort Es { readonly get => Get16(32); set => BinaryPrimitives.WriteUInt16LittleEndian(_bytes[32..], value); }
    public readonly ushort Ds => Get16(34);
    public readonly byte Vector => _bytes[36];

    public bool Carry { readonly get => (_bytes[42] & 1) != 0; set => _bytes[42] = (byte)(value ? _bytes[42] | 1 : _bytes[42] & ~1); }
    public bool Zero { readonly get => (_bytes[42] & 0x40) != 0; set => _bytes[42] = (byte)(value ? _bytes[42] | 0x40 : _bytes[42] & ~0x40); }

    public readonly Gpa EsDi => Linear(Es, (ushort)Edi);
    public readonly Gpa EsBx => Linear(Es, Bx);
    public readonly Gpa EsBp => Linear(Es, Bp);
    public readonly Gpa EsSi => Linear(Es, (ushort)Esi);
    public readonly Gpa DsSi => Linear(Ds, (ushort)Esi);

    public static Gpa Linear(ushort segment, ushort offset) => new(((ulong)segment << 4) + offset);

    /// <summary>What most services answer to a function that they have not: carry and an error in AH.</summary>
    public void Fail(byte error)
    {
        Ah = error;
        Carry = true;
    }

    private readonly uint Get(int at) => BinaryPrimitives.ReadUInt32LittleEndian(_bytes[at..]);

    private readonly ushort Get16(int at) => BinaryPrimitives.ReadUInt16LittleEndian(_bytes[at..]);

    private readonly void Set(int at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(_bytes[at..], value);
}
