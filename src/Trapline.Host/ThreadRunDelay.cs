using System.Buffers.Text;
using Microsoft.Win32.SafeHandles;

namespace Trapline.Host;

/// <summary>How long the thread that made this was ready to run while the host ran others.</summary>
/// <remarks>The second number of /proc/thread-self/schedstat (Linux, Documentation/scheduler/sched-stats.rst); reading it allocates nothing.</remarks>
public sealed class ThreadRunDelay : IDisposable
{
    private readonly SafeFileHandle? _file;

    public ThreadRunDelay()
    {
        try
        {
            _file = File.OpenHandle("/proc/thread-self/schedstat");
        }
        catch (IOException)
        {
            // A host that keeps no such account (CONFIG_SCHED_INFO) or shows none: nothing is ever delayed.
        }
        catch (UnauthorizedAccessException)
        {
        }
    }

    /// <summary>Nanoseconds since the thread began; 0 on a host that does not tell.</summary>
    public long Nanoseconds
    {
        get
        {
            if (_file is null)
                return 0;
            Span<byte> text = stackalloc byte[80];
            text = text[..RandomAccess.Read(_file, text, 0)];
            int gap = text.IndexOf((byte)' ');
            return gap >= 0 && Utf8Parser.TryParse(text[(gap + 1)..], out long delay, out _) ? delay : 0;
        }
    }

    public void Dispose() => _file?.Dispose();
}
