using System.Runtime.CompilerServices;

namespace Trapline.Cpu.Interpreter;

/// <summary>An operand width as a type argument, so that each handler is compiled once per width. Values travel zero-extended in 64 bits.</summary>
public unsafe interface IWidth
{
    static abstract int Bytes { get; }
    static abstract int Bits { get; }
    static abstract ulong Truncate(ulong value);
    static abstract ulong SignExtend(ulong value);
    /// <summary>Reads memory or a register.</summary>
    static abstract ulong Get(void* p);
    /// <summary>Writes memory.</summary>
    static abstract void Set(void* p, ulong value);
    /// <summary>Writes a general register: 32-bit writes clear the upper half, narrower ones keep the rest (SDM Vol. 1, 3.4.1.1).</summary>
    static abstract void SetRegister(void* p, ulong value);
    /// <summary>Compare and swap on host memory that guests share; unaligned is allowed.</summary>
    static abstract bool CompareExchange(void* p, ulong expected, ulong value);
}

public readonly unsafe struct W8 : IWidth
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;
    public static int Bytes { [MethodImpl(Inline)] get => 1; }
    public static int Bits { [MethodImpl(Inline)] get => 8; }
    [MethodImpl(Inline)] public static ulong Truncate(ulong value) => (byte)value;
    [MethodImpl(Inline)] public static ulong SignExtend(ulong value) => (ulong)(sbyte)value;
    [MethodImpl(Inline)] public static ulong Get(void* p) => *(byte*)p;
    [MethodImpl(Inline)] public static void Set(void* p, ulong value) => *(byte*)p = (byte)value;
    [MethodImpl(Inline)] public static void SetRegister(void* p, ulong value) => *(byte*)p = (byte)value;
    public static bool CompareExchange(void* p, ulong expected, ulong value) =>
        Interlocked.CompareExchange(ref *(byte*)p, (byte)value, (byte)expected) == (byte)expected;
}

public readonly unsafe struct W16 : IWidth
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;
    public static int Bytes { [MethodImpl(Inline)] get => 2; }
    public static int Bits { [MethodImpl(Inline)] get => 16; }
    [MethodImpl(Inline)] public static ulong Truncate(ulong value) => (ushort)value;
    [MethodImpl(Inline)] public static ulong SignExtend(ulong value) => (ulong)(short)value;
    [MethodImpl(Inline)] public static ulong Get(void* p) => *(ushort*)p;
    [MethodImpl(Inline)] public static void Set(void* p, ulong value) => *(ushort*)p = (ushort)value;
    [MethodImpl(Inline)] public static void SetRegister(void* p, ulong value) => *(ushort*)p = (ushort)value;
    public static bool CompareExchange(void* p, ulong expected, ulong value) =>
        Interlocked.CompareExchange(ref *(ushort*)p, (ushort)value, (ushort)expected) == (ushort)expected;
}

public readonly unsafe struct W32 : IWidth
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;
    public static int Bytes { [MethodImpl(Inline)] get => 4; }
    public static int Bits { [MethodImpl(Inline)] get => 32; }
    [MethodImpl(Inline)] public static ulong Truncate(ulong value) => (uint)value;
    [MethodImpl(Inline)] public static ulong SignExtend(ulong value) => (ulong)(int)value;
    [MethodImpl(Inline)] public static ulong Get(void* p) => *(uint*)p;
    [MethodImpl(Inline)] public static void Set(void* p, ulong value) => *(uint*)p = (uint)value;
    [MethodImpl(Inline)] public static void SetRegister(void* p, ulong value) => *(ulong*)p = (uint)value;
    public static bool CompareExchange(void* p, ulong expected, ulong value) =>
        Interlocked.CompareExchange(ref *(uint*)p, (uint)value, (uint)expected) == (uint)expected;
}

public readonly unsafe struct W64 : IWidth
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;
    public static int Bytes { [MethodImpl(Inline)] get => 8; }
    public static int Bits { [MethodImpl(Inline)] get => 64; }
    [MethodImpl(Inline)] public static ulong Truncate(ulong value) => value;
    [MethodImpl(Inline)] public static ulong SignExtend(ulong value) => value;
    [MethodImpl(Inline)] public static ulong Get(void* p) => *(ulong*)p;
    [MethodImpl(Inline)] public static void Set(void* p, ulong value) => *(ulong*)p = value;
    [MethodImpl(Inline)] public static void SetRegister(void* p, ulong value) => *(ulong*)p = value;
    public static bool CompareExchange(void* p, ulong expected, ulong value) =>
        Interlocked.CompareExchange(ref *(ulong*)p, value, expected) == expected;
}
