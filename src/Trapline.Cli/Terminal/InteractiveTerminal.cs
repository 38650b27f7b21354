using System.Runtime.InteropServices;
using Trapline.Host;

namespace Trapline.Cli.Terminal;

/// <summary>The user's terminal in raw mode while a guest has it; given back on every way out.</summary>
internal sealed class InteractiveTerminal : IDisposable
{
    private readonly HostTerminal _terminal;
    private readonly TerminalGuard? _guard;
    private readonly PosixSignalRegistration _continued;

    private InteractiveTerminal(HostTerminal terminal)
    {
        _terminal = terminal;
        _guard = TerminalGuard.Start();
        AppDomain.CurrentDomain.UnhandledException += Restore;
        AppDomain.CurrentDomain.ProcessExit += Restore;
        terminal.EnterRaw();
        _continued = PosixSignalRegistration.Create(PosixSignal.SIGCONT, _ => terminal.EnterRaw());
    }

    /// <summary>Null if standard input is no terminal of ours.</summary>
    public static InteractiveTerminal? Open() => HostTerminal.Open() is { } terminal ? new InteractiveTerminal(terminal) : null;

    /// <summary>A line for the user; in raw mode it needs its carriage return.</summary>
    public static void Say(string line) => DescriptorStream.StandardError.Write(System.Text.Encoding.UTF8.GetBytes($"\r\ntrapline: {line}\r\n"));

    public void Dispose()
    {
        _continued.Dispose();
        _terminal.Restore();
        _guard?.Dispose();
        AppDomain.CurrentDomain.UnhandledException -= Restore;
        AppDomain.CurrentDomain.ProcessExit -= Restore;
    }

    private void Restore(object? sender, EventArgs e) => _terminal.Restore();
}
