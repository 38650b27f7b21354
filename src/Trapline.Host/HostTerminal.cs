namespace Trapline.Host;

/// <summary>The terminal on standard input: its settings and its size.</summary>
/// <remarks>Unsafe for the calls alone: each gets the address of a local or of a field of this object, pinned for the call.</remarks>
public sealed unsafe class HostTerminal
{
    private const int Input = 0;

    private readonly Lock _gate = new();
    private TerminalCalls.Termios _saved;
    private bool _raw;

    private HostTerminal(TerminalCalls.Termios saved)
    {
        _saved = saved;
    }

    public static bool IsTerminal(int descriptor) => TerminalCalls.IsTerminal(descriptor) == 1;

    /// <summary>True if this process may use the terminal: a background job that touches it is stopped by the kernel.</summary>
    public static bool IsForeground => IsTerminal(Input) && TerminalCalls.ForegroundGroup(Input) == TerminalCalls.ProcessGroup();

    /// <summary>The terminal with its settings of now, or null if standard input is none or is not ours.</summary>
    public static HostTerminal? Open()
    {
        TerminalCalls.Termios settings;
        return IsForeground && TerminalCalls.GetAttributes(Input, &settings) == 0 ? new HostTerminal(settings) : null;
    }

    /// <summary>Rows and columns; zeros if the terminal does not know.</summary>
    public static (ushort Rows, ushort Columns) Size
    {
        get
        {
            TerminalCalls.WindowSize size;
            return TerminalCalls.Control(Input, TerminalCalls.GetWindowSize, &size) == 0 ? (size.Rows, size.Columns) : default;
        }
    }

    /// <summary>Every key goes to the guest as it is: no echo, no lines, no signals. Again after the process was stopped and continued.</summary>
    public void EnterRaw()
    {
        lock (_gate)
        {
            TerminalCalls.Termios settings = _saved;
            TerminalCalls.MakeRaw(&settings);
            _raw = TerminalCalls.SetAttributes(Input, TerminalCalls.TcsaNow, &settings) == 0;
        }
    }

    /// <summary>Puts the settings back as they were found. May be called from any thread and any number of times.</summary>
    public void Restore()
    {
        lock (_gate)
        {
            if (!_raw)
                return;
            _raw = false;
            TerminalCalls.Termios settings = _saved;
            TerminalCalls.SetAttributes(Input, TerminalCalls.TcsaDrain, &settings);
        }
    }
}
