namespace Trapline.Fuzz;

/// <summary>A small seeded generator (xorshift64*): the same seed gives the same cases on every host.</summary>
public sealed class RandomSource(ulong seed)
{
    private ulong _state = seed * 0x9E37_79B9_7F4A_7C15 + 0x1234_5678_9ABC_DEF1 | 1;

    public ulong Next()
    {
        _state ^= _state >> 12;
        _state ^= _state << 25;
        _state ^= _state >> 27;
        return _state * 0x2545_F491_4F6C_DD1D;
    }

    /// <summary>0 to <paramref name="bound"/> - 1.</summary>
    public int Below(int bound) => (int)((Next() >> 33) % (uint)bound);

    public bool OneIn(int n) => Below(n) == 0;

    /// <summary>A 64-bit value that is interesting to integer instructions more often than chance would have it.</summary>
    public ulong Integer()
    {
        ulong r = Next();
        return Below(8) switch
        {
            0 => r & 0xFF,
            1 => (ulong)(long)(sbyte)r,
            2 => 1ul << (int)(r & 63),
            3 => (1ul << (int)(r & 63)) - 1,
            4 => (uint)r,
            5 => Edges[r % (uint)Edges.Length],
            _ => r,
        };
    }

    /// <summary>Eight bytes that are interesting as two floats, a double, or packed integers.</summary>
    public ulong Lane() => Below(6) switch
    {
        0 => Float32() | (ulong)Float32() << 32,
        1 or 2 => Float64(),
        3 => Integer(),
        _ => Next(),
    };

    private uint Float32()
    {
        uint r = (uint)Next();
        uint exponent = Below(4) switch { 0 => (uint)Below(3), 1 => (uint)(253 + Below(3)), 2 => (uint)(110 + Below(40)), _ => (r >> 23) & 0xFF };
        uint fraction = OneIn(4) ? 0 : OneIn(4) ? r & 0x7FFFFF & (r >> 3) : r & 0x7FFFFF;
        return (r & 0x8000_0000) | exponent << 23 | fraction;
    }

    private ulong Float64()
    {
        ulong r = Next();
        ulong exponent = Below(4) switch { 0 => (ulong)Below(3), 1 => (ulong)(2045 + Below(3)), 2 => (ulong)(950 + Below(150)), _ => (r >> 52) & 0x7FF };
        ulong fraction = OneIn(4) ? 0 : OneIn(4) ? r & 0xF_FFFF_0000_0000 : r & 0xF_FFFF_FFFF_FFFF;
        return (r & 1ul << 63) | exponent << 52 | fraction;
    }

    private static readonly ulong[] Edges =
    [
        0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x1_0000_0000,
        0x7FFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF,
    ];
}
