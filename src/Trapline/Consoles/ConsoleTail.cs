using System.Text;
using Trapline.Core;

namespace Trapline.Consoles;

/// <summary>Keeps the last bytes that a serial port sent, on their way to another back end, for the message that explains an end.</summary>
public sealed class ConsoleTail(ICharacterBackend next) : ICharacterBackend
{
    private readonly Lock _gate = new();
    private readonly byte[] _ring = new byte[16384];
    private long _total;

    public void Write(ReadOnlySpan<byte> data)
    {
        lock (_gate)
        {
            foreach (byte b in data)
                _ring[_total++ % _ring.Length] = b;
        }
        next.Write(data);
    }

    public void Connect(ICharacterSink sink) => next.Connect(sink);

    public string Text
    {
        get
        {
            lock (_gate)
            {
                int count = (int)Math.Min(_total, _ring.Length);
                byte[] copy = new byte[count];
                for (int i = 0; i < count; i++)
                    copy[i] = _ring[(_total - count + i) % _ring.Length];
                return Encoding.UTF8.GetString(copy);
            }
        }
    }

    /// <summary>The last lines, without control characters, the kernel's panic first if there was one.</summary>
    public IReadOnlyList<string> LastLines(int count)
    {
        List<string> lines = [];
        foreach (string line in Text.Split('\n'))
        {
            string clean = new([.. line.Where(c => !char.IsControl(c) || c == '\t')]);
            if (clean.Trim().Length > 0)
                lines.Add(clean);
        }
        int panic = lines.FindIndex(l => l.Contains("Kernel panic", StringComparison.Ordinal));
        int start = panic >= 0 ? Math.Max(0, panic - 2) : Math.Max(0, lines.Count - count);
        return lines.GetRange(start, Math.Min(count, lines.Count - start));
    }

    public bool SawPanic => Text.Contains("Kernel panic - not syncing", StringComparison.Ordinal);
}
