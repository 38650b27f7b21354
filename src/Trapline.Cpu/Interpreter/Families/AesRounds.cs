using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>AES rounds (FIPS 197) on a state held column by column, as the AES instructions do them; the host's instructions where it has them.</summary>
/// <remarks><see cref="Portable"/> is the definition; a test holds the fast path equal to it.</remarks>
internal static class AesRounds
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    [MethodImpl(Inline)]
    public static Vector128<byte> Encrypt(Vector128<byte> state, Vector128<byte> key) =>
        System.Runtime.Intrinsics.X86.Aes.IsSupported ? System.Runtime.Intrinsics.X86.Aes.Encrypt(state, key) : Portable.Encrypt(state, key);

    [MethodImpl(Inline)]
    public static Vector128<byte> EncryptLast(Vector128<byte> state, Vector128<byte> key) =>
        System.Runtime.Intrinsics.X86.Aes.IsSupported ? System.Runtime.Intrinsics.X86.Aes.EncryptLast(state, key) : Portable.EncryptLast(state, key);

    [MethodImpl(Inline)]
    public static Vector128<byte> Decrypt(Vector128<byte> state, Vector128<byte> key) =>
        System.Runtime.Intrinsics.X86.Aes.IsSupported ? System.Runtime.Intrinsics.X86.Aes.Decrypt(state, key) : Portable.Decrypt(state, key);

    [MethodImpl(Inline)]
    public static Vector128<byte> DecryptLast(Vector128<byte> state, Vector128<byte> key) =>
        System.Runtime.Intrinsics.X86.Aes.IsSupported ? System.Runtime.Intrinsics.X86.Aes.DecryptLast(state, key) : Portable.DecryptLast(state, key);

    internal static class Portable
    {
        private static readonly byte[] Substitution = BuildSubstitution();
        private static readonly byte[] InverseSubstitution = Invert(Substitution);

        public static Vector128<byte> Encrypt(Vector128<byte> state, Vector128<byte> key) =>
            MixColumns(Substitute(ShiftRows(state), Substitution)) ^ key;

        public static Vector128<byte> EncryptLast(Vector128<byte> state, Vector128<byte> key) => Substitute(ShiftRows(state), Substitution) ^ key;

        public static Vector128<byte> Decrypt(Vector128<byte> state, Vector128<byte> key) =>
            InverseMixColumns(Substitute(InverseShiftRows(state), InverseSubstitution)) ^ key;

        public static Vector128<byte> DecryptLast(Vector128<byte> state, Vector128<byte> key) =>
            Substitute(InverseShiftRows(state), InverseSubstitution) ^ key;

        public static Vector128<byte> InverseMixColumns(Vector128<byte> state) => MixColumns(state ^ Double(Double(state ^ RotateColumns2(state))));

        /// <summary>AESKEYGENASSIST: words 1 and 3 substituted, plain and rotated with the round constant.</summary>
        public static Vector128<byte> KeyAssist(Vector128<byte> key, byte roundConstant)
        {
            Vector128<uint> words = Substitute(key, Substitution).AsUInt32();
            return Vector128.Create(
                words[1], uint.RotateRight(words[1], 8) ^ roundConstant, words[3], uint.RotateRight(words[3], 8) ^ roundConstant).AsByte();
        }

        private static Vector128<byte> ShiftRows(Vector128<byte> state) =>
            Vector128.Shuffle(state, Vector128.Create((byte)0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6, 11));

        private static Vector128<byte> InverseShiftRows(Vector128<byte> state) =>
            Vector128.Shuffle(state, Vector128.Create((byte)0, 13, 10, 7, 4, 1, 14, 11, 8, 5, 2, 15, 12, 9, 6, 3));

        private static Vector128<byte> RotateColumns1(Vector128<byte> state) =>
            ((state.AsUInt32() >>> 8) | (state.AsUInt32() << 24)).AsByte();

        private static Vector128<byte> RotateColumns2(Vector128<byte> state) =>
            ((state.AsUInt32() >>> 16) | (state.AsUInt32() << 16)).AsByte();

        /// <summary>Each byte times x in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1.</summary>
        private static Vector128<byte> Double(Vector128<byte> value) =>
            (value << 1) ^ ((value.AsSByte() >> 7).AsByte() & Vector128.Create((byte)0x1B));

        private static Vector128<byte> MixColumns(Vector128<byte> state)
        {
            Vector128<byte> next = RotateColumns1(state);
            return Double(state ^ next) ^ next ^ RotateColumns2(state ^ next);
        }

        private static unsafe Vector128<byte> Substitute(Vector128<byte> state, byte[] table)
        {
            byte* bytes = (byte*)&state;
            for (int i = 0; i < 16; i++)
                bytes[i] = table[bytes[i]];
            return state;
        }

        /// <summary>Walks the field with a generator and its inverse side by side, so that each value meets its reciprocal.</summary>
        private static byte[] BuildSubstitution()
        {
            byte[] table = new byte[256];
            byte value = 1, reciprocal = 1;
            do
            {
                value ^= (byte)(value << 1 ^ ((value & 0x80) != 0 ? 0x1B : 0)); // times 3
                reciprocal ^= (byte)(reciprocal << 1); // divided by 3
                reciprocal ^= (byte)(reciprocal << 2);
                reciprocal ^= (byte)(reciprocal << 4);
                if ((reciprocal & 0x80) != 0)
                    reciprocal ^= 0x09;
                table[value] = (byte)(reciprocal ^ byte.RotateLeft(reciprocal, 1) ^ byte.RotateLeft(reciprocal, 2)
                    ^ byte.RotateLeft(reciprocal, 3) ^ byte.RotateLeft(reciprocal, 4) ^ 0x63);
            }
            while (value != 1);
            table[0] = 0x63;
            return table;
        }

        private static byte[] Invert(byte[] table)
        {
            byte[] inverse = new byte[256];
            for (int i = 0; i < 256; i++)
                inverse[table[i]] = (byte)i;
            return inverse;
        }
    }
}
