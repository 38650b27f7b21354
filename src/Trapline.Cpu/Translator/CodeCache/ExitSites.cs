namespace Trapline.Cpu.Translator.CodeCache;

/// <summary>All exit sites by number. They never move: a reference to one stays good while others are added.</summary>
public sealed class ExitSites
{
    private const int Shift = 10, PerChunk = 1 << Shift;
    private readonly List<ExitSite[]> _chunks = [];

    public int Count { get; private set; }

    public ref ExitSite this[int number] => ref _chunks[number >> Shift][number & (PerChunk - 1)];

    /// <returns>Its number.</returns>
    public int Add(in ExitSite site)
    {
        if (Count == _chunks.Count << Shift)
            _chunks.Add(new ExitSite[PerChunk]);
        this[Count] = site;
        return Count++;
    }

    public void Clear()
    {
        // The first chunk is used again at once; the others let go of their translations.
        if (_chunks.Count > 1)
            _chunks.RemoveRange(1, _chunks.Count - 1);
        if (Count > 0)
            Array.Clear(_chunks[0]);
        Count = 0;
    }
}
