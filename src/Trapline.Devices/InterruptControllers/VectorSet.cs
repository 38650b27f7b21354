using System.Numerics;

namespace Trapline.Devices.InterruptControllers;

/// <summary>256 bits, one for each vector, that knows its highest member (ISR, TMR and IRR of a local APIC).</summary>
internal sealed class VectorSet
{
    private readonly uint[] _words = new uint[8];

    public uint Word(int index) => _words[index];

    public bool Contains(byte vector) => (_words[vector >> 5] & (1u << (vector & 31))) != 0;

    public void Add(byte vector) => _words[vector >> 5] |= 1u << (vector & 31);

    public void Remove(byte vector) => _words[vector >> 5] &= ~(1u << (vector & 31));

    public void Set(byte vector, bool member)
    {
        if (member)
            Add(vector);
        else
            Remove(vector);
    }

    /// <summary>The highest vector, or -1.</summary>
    public int Highest
    {
        get
        {
            for (int i = 7; i >= 0; i--)
            {
                if (_words[i] != 0)
                    return (i * 32) + BitOperations.Log2(_words[i]);
            }
            return -1;
        }
    }

    /// <summary>It has exactly one member.</summary>
    public bool IsSingle
    {
        get
        {
            int members = 0;
            foreach (uint word in _words)
                members += BitOperations.PopCount(word);
            return members == 1;
        }
    }

    public void Clear() => Array.Clear(_words);

    public uint[] Save() => (uint[])_words.Clone();

    public void Restore(uint[] words)
    {
        Clear();
        Array.Copy(words, _words, Math.Min(words.Length, 8));
    }
}
