namespace Trapline.Cpu.Translator.CodeCache;

/// <summary>Translations by number and by what they were made from.</summary>
internal sealed class TranslationTable : IDisposable
{
    private readonly HashIndex _index = new();

    /// <summary>By number; null where there is none any more. Number 0 is nobody's.</summary>
    private readonly List<Translation?> _numbered = [null];

    public int Count { get; private set; }

    /// <summary>The number that <see cref="Add"/> gives next.</summary>
    public int NextNumber => _numbered.Count;

    /// <summary>Null if that translation is gone.</summary>
    public Translation? this[int number] => _numbered[number];

    public IEnumerable<Translation> All => _numbered.OfType<Translation>();

    public Translation? Find(in TranslationKey key)
    {
        HashIndex.Search search = _index.Start((uint)key.GetHashCode());
        while (_index.Next(ref search) is var number and not 0)
            if (_numbered[(int)number]!.Key == key)
                return _numbered[(int)number];
        return null;
    }

    /// <summary>Its number is <see cref="NextNumber"/>, and nothing with its key is here.</summary>
    public void Add(Translation translation)
    {
        Count++;
        _numbered.Add(translation);
        _index.Add((uint)translation.Key.GetHashCode(), (uint)translation.Number);
    }

    public void Remove(Translation translation)
    {
        Count--;
        _numbered[translation.Number] = null;
        _index.Remove((uint)translation.Key.GetHashCode(), (uint)translation.Number);
    }

    public void Clear()
    {
        _numbered.RemoveRange(1, _numbered.Count - 1);
        _index.Clear();
        Count = 0;
    }

    public void Dispose() => _index.Dispose();
}
