using Trapline.Host;

namespace Trapline.Cpu.Translator.CodeCache;

/// <summary>All exit sites by number. They never move: a reference to one stays good while others are added.</summary>
/// <remarks>Hundreds of thousands come up in a boot, so they lie where the garbage collector neither looks nor copies.</remarks>
public sealed unsafe class ExitSites : IDisposable
{
    private const int Shift = 16, PerChunk = 1 << Shift;
    private readonly List<HostMapping> _chunks = [];

    public int Count { get; private set; }

    public ref ExitSite this[int number]
    {
        get
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)number, (uint)Count);
            return ref ((ExitSite*)_chunks[number >> Shift].Base)[number & (PerChunk - 1)];
        }
    }

    /// <returns>Its number.</returns>
    public int Add(in ExitSite site)
    {
        if (Count == _chunks.Count << Shift)
            AddChunk();
        int number = Count++;
        this[number] = site;
        return number;
    }

    private void AddChunk()
    {
        HostMapping chunk = HostMapping.CreatePrivate((ulong)(PerChunk * sizeof(ExitSite) + 4095 & ~4095));
        if (_chunks.Count != 0)
            chunk.PreferHugePages(); // a vCPU that runs little stays small
        _chunks.Add(chunk);
    }

    /// <summary>There are many, and more will be: they lie in huge pages from now on.</summary>
    public void MakeHuge() => HostPages.MakeHuge(_chunks[0].Base, _chunks[0].Length);

    /// <summary>Numbers begin at 0 again.</summary>
    public void Clear() => Count = 0;

    public void Dispose()
    {
        foreach (HostMapping chunk in _chunks)
            chunk.Dispose();
        _chunks.Clear();
        Count = 0;
    }
}
