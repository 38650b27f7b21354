using System.Diagnostics;
using Trapline.Host;

namespace Trapline.Cli.Reports;

/// <summary>One line on the terminal that counts seconds while the guest boots, and then is gone.</summary>
internal sealed class BootTicker : IDisposable
{
    private readonly Lock _gate = new();
    private readonly long _start = Stopwatch.GetTimestamp();
    private readonly string _what;
    private readonly Timer? _timer;
    private bool _shown;
    private bool _done;

    public BootTicker(string what)
    {
        _what = what;
        if (HostTerminal.IsTerminal(2))
            _timer = new Timer(_ => Show(), null, 500, 1000);
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _done = true;
            if (_shown)
                Write("\r\e[K");
            _shown = false;
        }
        _timer?.Dispose();
    }

    private void Show()
    {
        lock (_gate)
        {
            if (_done)
                return;
            _shown = true;
            Write("\r\e[K" + Fit(_what, $" … {Stopwatch.GetElapsedTime(_start).TotalSeconds:F0} s ", HostTerminal.Size.Columns));
        }
    }

    /// <summary>The line, cut to the terminal's width: one that wraps could not be taken away again.</summary>
    internal static string Fit(string what, string time, int columns)
    {
        string text = "trapline: " + what;
        int room = columns - time.Length - 1;
        return columns == 0 || text.Length <= room ? text + time : text[..Math.Max(0, room)] + time;
    }

    private static void Write(string text)
    {
        try
        {
            DescriptorStream.StandardError.Write(System.Text.Encoding.UTF8.GetBytes(text));
        }
        catch (IOException)
        {
            // Nobody watches.
        }
    }
}
