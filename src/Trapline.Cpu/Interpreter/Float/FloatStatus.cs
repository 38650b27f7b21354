using System.Runtime.CompilerServices;

namespace Trapline.Cpu.Interpreter.Float;

/// <summary>The six floating-point exceptions, in the bit order both MXCSR and the x87 status word use.</summary>
[Flags]
public enum FloatExceptions : uint
{
    None = 0,
    Invalid = 1,
    Denormal = 2,
    ZeroDivide = 4,
    Overflow = 8,
    Underflow = 16,
    Precision = 32,

    /// <summary>Found before anything is computed: when one of these is unmasked the operation stops (SDM Vol.1 4.9.2).</summary>
    PreComputation = Invalid | Denormal | ZeroDivide,

    /// <summary>Found while the result is rounded.</summary>
    PostComputation = Overflow | Underflow | Precision,

    All = PreComputation | PostComputation,
}

/// <summary>The RC field of MXCSR and of the x87 control word (SDM Vol.1 4.8.4).</summary>
public enum RoundingMode : uint
{
    Nearest = 0,
    Down = 1,
    Up = 2,
    TowardZero = 3,
}

/// <summary>How two numbers compare.</summary>
public enum FloatRelation
{
    Less,
    Equal,
    Greater,
    Unordered,
}

/// <summary>
/// What one floating-point operation needs to know and what it leaves behind: the control bits in MXCSR's layout
/// (SDM Vol.1 10.2.3), the exceptions this operation raised, and x87's "rounded up" bit.
/// </summary>
/// <remarks>
/// The sticky flags are in <see cref="Control"/> as they were before the operation; <see cref="Raised"/> starts empty and
/// holds what this operation alone detected, which is what decides whether an unmasked exception is delivered.
/// </remarks>
public struct FloatStatus
{
    public const uint DenormalsAreZeroBit = 1u << 6;
    public const int MaskShift = 7;
    public const uint PrecisionMaskBit = (uint)FloatExceptions.Precision << MaskShift;
    public const int RoundingShift = 13;
    public const uint RoundingBits = 3u << RoundingShift;
    public const uint FlushToZeroBit = 1u << 15;

    /// <summary>Ours, above MXCSR's bits: the x87 precision-control field.</summary>
    public const int PrecisionControlShift = 16;

    /// <summary>The value of MXCSR after reset: every exception masked, round to nearest.</summary>
    public const uint DefaultMxcsr = 0x1F80;

    /// <summary>MXCSR's layout, with the x87 precision control in bits 17:16.</summary>
    public uint Control;

    /// <summary>The exceptions detected since this status was made.</summary>
    public FloatExceptions Raised;

    /// <summary>x87 C1 after an inexact result: the magnitude was rounded up.</summary>
    public bool RoundedUp;

    /// <summary>
    /// The x87 memory operand was a denormal in its own format (see <see cref="F80.OperandF32"/>): registers hold it normalized,
    /// so the operation must be told.
    /// </summary>
    internal bool MemoryOperandDenormal;

    /// <summary>The status for an SSE or AVX operation under this MXCSR.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public FloatStatus(uint mxcsr)
    {
        Control = mxcsr & 0xFFFF | 3u << PrecisionControlShift;
    }

    /// <summary>The status for an x87 operation under this control word and the sticky flags of this status word (SDM Vol.1 8.1.5).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static FloatStatus X87(ushort controlWord, ushort statusWord = 0)
    {
        FloatStatus status = default;
        uint control = controlWord;
        status.Control = (statusWord & 0x3Fu) | (control & 0x3F) << MaskShift
            | (control >> 10 & 3) << RoundingShift | (control >> 8 & 3) << PrecisionControlShift;
        return status;
    }

    /// <summary>MXCSR after the operation.</summary>
    public readonly uint Mxcsr => Control & 0xFFFF | (uint)Raised;

    public readonly RoundingMode Rounding => (RoundingMode)(Control >> RoundingShift & 3);

    public readonly bool DenormalsAreZero => (Control & DenormalsAreZeroBit) != 0;

    public readonly bool FlushToZero => (Control & FlushToZeroBit) != 0;

    public readonly FloatExceptions Masks => (FloatExceptions)(Control >> MaskShift) & FloatExceptions.All;

    /// <summary>The exceptions this operation raised that software asked to be told of.</summary>
    public readonly FloatExceptions Unmasked => Raised & ~Masks;

    /// <summary>Significand bits of an x87 arithmetic result (SDM Vol.1 8.1.5.2); the reserved encoding acts as 64.</summary>
    public readonly int X87Precision => (Control >> PrecisionControlShift & 3) switch
    {
        0 => 24,
        2 => 53,
        _ => 64,
    };

    /// <summary>Replaces the rounding mode (ROUNDPS and VCVTPS2PH carry one in their immediate).</summary>
    public void SetRounding(RoundingMode mode) => Control = Control & ~RoundingBits | (uint)mode << RoundingShift;

    /// <summary>Records <paramref name="exception"/>; true when it is unmasked.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal bool Raise(FloatExceptions exception)
    {
        Raised |= exception;
        return (exception & ~Masks) != 0;
    }
}
