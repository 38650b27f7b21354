using System.Runtime.Intrinsics;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>The product of two 64-bit polynomials over GF(2); the host's instruction where it has one.</summary>
internal static class CarrylessProduct
{
    public static Vector128<byte> Multiply(ulong a, ulong b) =>
        System.Runtime.Intrinsics.X86.Pclmulqdq.IsSupported
            ? System.Runtime.Intrinsics.X86.Pclmulqdq.CarrylessMultiply(Vector128.CreateScalar(a), Vector128.CreateScalar(b), 0).AsByte()
            : Portable(a, b);

    internal static Vector128<byte> Portable(ulong a, ulong b)
    {
        ulong low = 0, high = 0;
        for (int i = 0; i < 64; i++)
        {
            ulong select = 0 - ((b >> i) & 1);
            low ^= (a << i) & select;
            high ^= (a >> 1 >> (63 - i)) & select;
        }
        return Vector128.Create(low, high).AsByte();
    }
}
