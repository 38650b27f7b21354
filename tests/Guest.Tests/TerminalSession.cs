using System.Diagnostics;
using System.Text;
using Trapline.Host;

namespace Guest.Tests;

/// <summary>The command line on a terminal of its own, with somebody who types and reads.</summary>
internal sealed class TerminalSession : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    private readonly PseudoTerminal _terminal = PseudoTerminal.Open();
    private readonly StringBuilder _seen = new();
    private readonly Process _process;
    private int _read;

    public TerminalSession(params string[] arguments)
    {
        // As a login sets a terminal up; the pseudo-terminal opens raw.
        SetTerminal("sane", "rows", "30", "cols", "100");
        SettingsBefore = Settings();
        // A session of its own whose controlling terminal this is, so that its signals and sizes arrive; SIGINT as a shell gives it,
        // for a test run in the background ignores it.
        _process = Process.Start("sh", ["-c", "t=$1; shift; exec setsid -c env --default-signal=HUP,INT,QUIT,TERM \"$@\" <\"$t\" >\"$t\" 2>&1", "sh", _terminal.Name, Launcher.Path, .. arguments]);
        new Thread(Listen) { IsBackground = true }.Start();
    }

    /// <summary>What stty says of the terminal, but for its size.</summary>
    public string SettingsBefore { get; }

    public Process Process => _process;

    public string Settings() => Host("stty", "-F", _terminal.Name, "-a").Split('\n', 2)[1];

    /// <summary>Changes the size as a terminal's window does: the processes in it get SIGWINCH.</summary>
    public void Resize(int rows, int columns) => SetTerminal("rows", $"{rows}", "cols", $"{columns}");

    public void Type(string text) => _terminal.Stream.Write(Encoding.UTF8.GetBytes(text));

    /// <summary>Waits until this appears behind what was read so far, and reads up to its end.</summary>
    public async Task ExpectAsync(string text)
    {
        for (Stopwatch watch = Stopwatch.StartNew(); watch.Elapsed < Patience; await Task.Delay(20))
        {
            lock (_seen)
            {
                int at = _seen.ToString().IndexOf(text, _read, StringComparison.Ordinal);
                if (at < 0)
                    continue;
                _read = at + text.Length;
                return;
            }
        }
        lock (_seen)
            Assert.Fail($"'{text}' did not appear ({(_process.HasExited ? $"exit status {_process.ExitCode}" : "still running")}); the terminal had:\n{_seen}");
    }

    public async Task<int> ExitAsync()
    {
        await _process.WaitForExitAsync().WaitAsync(Patience);
        return _process.ExitCode;
    }

    public void Dispose()
    {
        if (!_process.HasExited)
            _process.Kill();
        _process.Dispose();
        _terminal.Dispose();
    }

    private void SetTerminal(params string[] settings) => Host("stty", ["-F", _terminal.Name, .. settings]);

    private static string Host(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true })!;
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
        return output;
    }

    private void Listen()
    {
        byte[] buffer = new byte[4096];
        try
        {
            for (int count; (count = _terminal.Stream.Read(buffer)) > 0;)
            {
                lock (_seen)
                    _seen.Append(Encoding.UTF8.GetString(buffer, 0, count));
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // The terminal was closed.
        }
    }
}
