using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Iced.Intel;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>AES, carry-less multiplication and SHA instructions, 256-bit forms included.</summary>
internal static unsafe class VectorCrypto
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    public static void Register(Binders.Registry r)
    {
        Add<AesEncrypt>(r, Mnemonic.Aesenc, Mnemonic.Vaesenc);
        Add<AesEncryptLast>(r, Mnemonic.Aesenclast, Mnemonic.Vaesenclast);
        Add<AesDecrypt>(r, Mnemonic.Aesdec, Mnemonic.Vaesdec);
        Add<AesDecryptLast>(r, Mnemonic.Aesdeclast, Mnemonic.Vaesdeclast);
        Add<AesInverseMix>(r, Mnemonic.Aesimc, Mnemonic.Vaesimc);
        r.Add(Mnemonic.Aeskeygenassist, &VectorForms.BindImmediate<AesKeyAssist>);
        r.Add(Mnemonic.Vaeskeygenassist, &VectorForms.BindImmediate<AesKeyAssist>);
        r.Add(Mnemonic.Pclmulqdq, &VectorForms.BindImmediate<Carryless>);
        r.Add(Mnemonic.Vpclmulqdq, &VectorForms.BindImmediate<Carryless>);
        r.Add(Mnemonic.Sha1nexte, &VectorForms.BindUnaligned<VectorForms.Plain<Sha1NextE>>);
        r.Add(Mnemonic.Sha1msg1, &VectorForms.BindUnaligned<VectorForms.Plain<Sha1Message1>>);
        r.Add(Mnemonic.Sha1msg2, &VectorForms.BindUnaligned<VectorForms.Plain<Sha1Message2>>);
        r.Add(Mnemonic.Sha1rnds4, &VectorForms.BindUnaligned<Sha1Rounds>);
        r.Add(Mnemonic.Sha256msg1, &VectorForms.BindUnaligned<VectorForms.Plain<Sha256Message1>>);
        r.Add(Mnemonic.Sha256msg2, &VectorForms.BindUnaligned<VectorForms.Plain<Sha256Message2>>);
        r.Add(Mnemonic.Sha256rnds2, &VectorForms.BindTernaryUnaligned<Sha256Rounds>);
    }

    private static void Add<TOperation>(Binders.Registry r, Mnemonic legacy, Mnemonic vex) where TOperation : IVectorBinary
    {
        r.Add(legacy, &VectorForms.Bind<TOperation>);
        r.Add(vex, &VectorForms.Bind<TOperation>);
    }

    private readonly struct AesEncrypt : IVectorBinary
    {
        [MethodImpl(Inline)] public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => AesRounds.Encrypt(a, b);
    }

    private readonly struct AesEncryptLast : IVectorBinary
    {
        [MethodImpl(Inline)] public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => AesRounds.EncryptLast(a, b);
    }

    private readonly struct AesDecrypt : IVectorBinary
    {
        [MethodImpl(Inline)] public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => AesRounds.Decrypt(a, b);
    }

    private readonly struct AesDecryptLast : IVectorBinary
    {
        [MethodImpl(Inline)] public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => AesRounds.DecryptLast(a, b);
    }

    private readonly struct AesInverseMix : IVectorBinary
    {
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => AesRounds.Portable.InverseMixColumns(b);
    }

    private readonly struct AesKeyAssist : IVectorImmediate
    {
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, int imm) => AesRounds.Portable.KeyAssist(b, (byte)imm);
    }

    private readonly struct Carryless : IVectorImmediate
    {
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b, int imm) =>
            CarrylessProduct.Multiply(a.AsUInt64()[imm & 1], b.AsUInt64()[(imm >> 4) & 1]);
    }

    // SHA: the SDM numbers words from the top of the register; element 3 is W0 in SHA-1.

    private readonly struct Sha1NextE : IVectorBinary
    {
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b)
        {
            Vector128<uint> w = b.AsUInt32();
            return w.WithElement(3, w[3] + BitOperations.RotateLeft(a.AsUInt32()[3], 30)).AsByte();
        }
    }

    private readonly struct Sha1Message1 : IVectorBinary
    {
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b) => a ^ Vector128.Create(b.GetUpper(), a.GetLower());
    }

    private readonly struct Sha1Message2 : IVectorBinary
    {
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b)
        {
            Vector128<uint> x = a.AsUInt32(), w = b.AsUInt32();
            uint w16 = BitOperations.RotateLeft(x[3] ^ w[2], 1);
            uint w17 = BitOperations.RotateLeft(x[2] ^ w[1], 1);
            uint w18 = BitOperations.RotateLeft(x[1] ^ w[0], 1);
            uint w19 = BitOperations.RotateLeft(x[0] ^ w16, 1);
            return Vector128.Create(w19, w18, w17, w16).AsByte();
        }
    }

    private readonly struct Sha1Rounds : IVectorImmediate
    {
        public static Vector128<byte> Apply(Vector128<byte> state, Vector128<byte> words, int imm)
        {
            uint a = state.AsUInt32()[3], b = state.AsUInt32()[2], c = state.AsUInt32()[1], d = state.AsUInt32()[0], e = 0;
            uint constant = (imm & 3) switch { 0 => 0x5A827999, 1 => 0x6ED9EBA1, 2 => 0x8F1BBCDC, _ => 0xCA62C1D6 };
            for (int i = 3; i >= 0; i--)
            {
                // The first word already has E added to it (SHA1NEXTE).
                uint mixed = (imm & 3) switch { 0 => Choose(b, c, d), 2 => Majority(b, c, d), _ => b ^ c ^ d };
                uint next = mixed + BitOperations.RotateLeft(a, 5) + words.AsUInt32()[i] + e + constant;
                e = d;
                d = c;
                c = BitOperations.RotateLeft(b, 30);
                b = a;
                a = next;
            }
            return Vector128.Create(d, c, b, a).AsByte();
        }
    }

    private static uint Choose(uint x, uint y, uint z) => (x & y) ^ (~x & z);
    private static uint Majority(uint x, uint y, uint z) => (x & y) ^ (x & z) ^ (y & z);

    private static uint Sigma0(uint x) => BitOperations.RotateRight(x, 7) ^ BitOperations.RotateRight(x, 18) ^ (x >> 3);
    private static uint Sigma1(uint x) => BitOperations.RotateRight(x, 17) ^ BitOperations.RotateRight(x, 19) ^ (x >> 10);

    private readonly struct Sha256Message1 : IVectorBinary
    {
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b)
        {
            Vector128<uint> w = a.AsUInt32();
            return (w + Vector128.Create(Sigma0(w[1]), Sigma0(w[2]), Sigma0(w[3]), Sigma0(b.AsUInt32()[0]))).AsByte();
        }
    }

    private readonly struct Sha256Message2 : IVectorBinary
    {
        public static Vector128<byte> Apply(Vector128<byte> a, Vector128<byte> b)
        {
            Vector128<uint> x = a.AsUInt32(), w = b.AsUInt32();
            uint w16 = x[0] + Sigma1(w[2]);
            uint w17 = x[1] + Sigma1(w[3]);
            return Vector128.Create(w16, w17, x[2] + Sigma1(w16), x[3] + Sigma1(w17)).AsByte();
        }
    }

    private readonly struct Sha256Rounds : IVectorTernary
    {
        public static Vector128<byte> Apply(Vector128<byte> cdgh, Vector128<byte> abef, Vector128<byte> keyed)
        {
            uint a = abef.AsUInt32()[3], b = abef.AsUInt32()[2], e = abef.AsUInt32()[1], f = abef.AsUInt32()[0];
            uint c = cdgh.AsUInt32()[3], d = cdgh.AsUInt32()[2], g = cdgh.AsUInt32()[1], h = cdgh.AsUInt32()[0];
            for (int i = 0; i < 2; i++)
            {
                uint first = Choose(e, f, g) + keyed.AsUInt32()[i] + h
                    + (BitOperations.RotateRight(e, 6) ^ BitOperations.RotateRight(e, 11) ^ BitOperations.RotateRight(e, 25));
                uint second = Majority(a, b, c)
                    + (BitOperations.RotateRight(a, 2) ^ BitOperations.RotateRight(a, 13) ^ BitOperations.RotateRight(a, 22));
                h = g;
                g = f;
                f = e;
                e = d + first;
                d = c;
                c = b;
                b = a;
                a = first + second;
            }
            return Vector128.Create(f, e, b, a).AsByte();
        }
    }
}
