namespace Trapline.Cpu.Interpreter.Float;

/// <summary>The 32 predicates of VCMPPS and its kin (SDM VCMPPS, table 3-1); the first 8 are CMPPS's.</summary>
public static class FloatPredicate
{
    private const uint L = 1, E = 2, G = 4, U = 8;

    /// <summary>
    /// For predicates 0 to 15 the relations that satisfy them, four bits each (less, equal, greater, unordered):
    /// EQ LT LE UNORD NEQ NLT NLE ORD EQ_U NGE NGT FALSE NEQ_O GE GT TRUE.
    /// </summary>
    private static readonly byte[] Relations =
    [
        (byte)E, (byte)L, (byte)(L | E), (byte)U, (byte)(L | G | U), (byte)(E | G | U), (byte)(G | U), (byte)(L | E | G),
        (byte)(E | U), (byte)(L | U), (byte)(L | E | U), 0, (byte)(L | G), (byte)(E | G), (byte)G, (byte)(L | E | G | U),
    ];

    /// <summary>Which of predicates 0 to 15 find a quiet NaN invalid; 16 to 31 are the same relations with the opposite habit.</summary>
    private const uint SignalingSet = 1u << 1 | 1u << 2 | 1u << 5 | 1u << 6 | 1u << 9 | 1u << 10 | 1u << 13 | 1u << 14;

    public static bool IsSignaling(int predicate) => (SignalingSet >> (predicate & 15) & 1) != 0 ^ (predicate & 16) != 0;

    public static bool Holds(int predicate, FloatRelation relation) => (Relations[predicate & 15] >> (int)relation & 1) != 0;
}
