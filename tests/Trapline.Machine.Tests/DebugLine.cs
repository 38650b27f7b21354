using Trapline.Core;

namespace Trapline.Machine.Tests;

/// <summary>The host end of a guest's debug port: keeps the letters, and what the vCPU's thread had allocated when each arrived.</summary>
internal sealed class DebugLine : ICharacterBackend
{
    private readonly (char Letter, long Allocated)[] _letters = new (char, long)[1 << 16];
    private int _count;

    public int Count => Volatile.Read(ref _count);

    public string Text => string.Concat(_letters.Take(Count).Select(l => l.Letter));

    /// <summary>Bytes that the thread had allocated when the letter first came.</summary>
    public long AllocatedAt(char letter) => _letters.First(l => l.Letter == letter).Allocated;

    /// <summary>On the vCPU's thread.</summary>
    public void Write(ReadOnlySpan<byte> data)
    {
        foreach (byte b in data)
        {
            _letters[_count % _letters.Length] = ((char)b, GC.GetAllocatedBytesForCurrentThread());
            Volatile.Write(ref _count, _count + 1);
        }
    }

    public void Connect(ICharacterSink sink) { }
}
