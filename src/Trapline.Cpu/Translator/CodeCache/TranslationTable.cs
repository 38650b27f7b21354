namespace Trapline.Cpu.Translator.CodeCache;

/// <summary>Translations by number and by what they were made from.</summary>
internal sealed class TranslationTable
{
    /// <summary>Begins each chain of those whose keys have the same hash; <see cref="Translation.Next"/> continues it.</summary>
    private Translation?[] _chains = new Translation?[1 << 10];

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
        for (Translation? one = Chain(key); one != null; one = one.Next)
            if (one.Key == key)
                return one;
        return null;
    }

    /// <summary>Its number is <see cref="NextNumber"/>, and nothing with its key is here.</summary>
    public void Add(Translation translation)
    {
        if (++Count > _chains.Length)
            Grow();
        _numbered.Add(translation);
        Link(translation);
    }

    public void Remove(Translation translation)
    {
        _numbered[translation.Number] = null;
        Count--;
        ref Translation? at = ref Chain(translation.Key);
        while (at != translation)
            at = ref at!.Next;
        at = translation.Next;
    }

    public void Clear()
    {
        _numbered.RemoveRange(1, _numbered.Count - 1);
        Array.Clear(_chains);
        Count = 0;
    }

    private ref Translation? Chain(in TranslationKey key) => ref _chains[key.GetHashCode() & (_chains.Length - 1)];

    private void Link(Translation translation)
    {
        ref Translation? first = ref Chain(translation.Key);
        translation.Next = first;
        first = translation;
    }

    private void Grow()
    {
        _chains = new Translation?[_chains.Length * 2];
        foreach (Translation translation in All)
            Link(translation);
    }
}
