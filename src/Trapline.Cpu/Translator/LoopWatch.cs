using Trapline.Cpu.Translator.Frontend;

namespace Trapline.Cpu.Translator;

/// <summary>
/// Iterations of a hot loop, noted until it is known which way most of them take. A loop of few iterations is come to several times before that.
/// </summary>
internal sealed class LoopWatch
{
    private const int Iterations = 8;

    /// <summary>Fewer iterations than these for each time that the loop was left, and what is done where it is entered and left is too much of it.</summary>
    private const int LeastEach = 3;

    /// <summary>More interruptions than these, and iterations as a rule do not end without one.</summary>
    private const int MostInterruptions = 16;

    private readonly ulong[] _paths = new ulong[Iterations * GuestBlock.MaxJoined];
    private readonly int[] _lengths = new int[Iterations];
    private int _count;
    private int _left;
    private int _interruptions;

    /// <summary>Nothing more can be learned.</summary>
    public bool IsOver => _count == Iterations || _left * LeastEach > Iterations || _interruptions > MostInterruptions;

    /// <summary>Another loop.</summary>
    public void Begin() => _count = _left = _interruptions = 0;

    /// <summary>Room for the addresses of the instructions of the next iteration.</summary>
    public Span<ulong> Next => _paths.AsSpan(_count * GuestBlock.MaxJoined, GuestBlock.MaxJoined);

    /// <summary>The iteration in <see cref="Next"/> came back to the loop's beginning.</summary>
    public void Came(int length) => _lengths[_count++] = length;

    /// <summary>It did not.</summary>
    public void Left() => _left++;

    /// <summary>It cannot be told.</summary>
    public void Interrupted() => _interruptions++;

    /// <summary>The way that most iterations took; empty if there is none.</summary>
    public ReadOnlySpan<ulong> Way
    {
        get
        {
            for (int n = 0; n < _count && !IsTooShort; n++)
                if (Alike(n) * 2 > _count)
                    return Path(n);
            return [];
        }
    }

    private bool IsTooShort => _left * LeastEach > _count;

    private int Alike(int n)
    {
        int alike = 0;
        for (int m = 0; m < _count; m++)
            if (Path(n).SequenceEqual(Path(m)))
                alike++;
        return alike;
    }

    private ReadOnlySpan<ulong> Path(int n) => _paths.AsSpan(n * GuestBlock.MaxJoined, _lengths[n]);
}
