using System.ComponentModel;
using System.Diagnostics;

namespace Trapline.Host;

/// <summary>A child process that puts the terminal's settings back should this process die without a chance to (SIGKILL, a crash).</summary>
/// <remarks>The child waits on a pipe whose other end is ours. A line means all is well; end of file means that we are gone.</remarks>
public sealed class TerminalGuard : IDisposable
{
    // Its own session, so that a signal to our whole process group spares it; and a process outside the terminal's session may set it freely.
    private const string Script =
        "trap '' TTOU TTIN INT QUIT TERM HUP; s=$(stty -g <\"$1\") || exit; echo ready; read -r x && exit; stty \"$s\" <\"$1\"";

    private readonly Process _child;

    private TerminalGuard(Process child)
    {
        _child = child;
    }

    /// <summary>Starts the guard with the settings of now; null where there is no terminal or the host lacks the programs.</summary>
    public static TerminalGuard? Start()
    {
        string? terminal = File.ResolveLinkTarget("/proc/self/fd/0", returnFinalTarget: false)?.FullName;
        if (terminal == null || !terminal.StartsWith("/dev/", StringComparison.Ordinal))
            return null;
        return Start("setsid", ["sh", "-c", Script, "sh", terminal]) ?? Start("sh", ["-c", Script, "sh", terminal]);
    }

    public void Dispose()
    {
        try
        {
            _child.StandardInput.WriteLine("done");
            _child.StandardInput.Close();
            _child.WaitForExit(1000);
        }
        catch (IOException)
        {
            // It is gone already.
        }
        _child.Dispose();
    }

    private static TerminalGuard? Start(string program, string[] arguments)
    {
        try
        {
            Process? child = Process.Start(new ProcessStartInfo(program, arguments)
            {
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            });
            // It must have read the settings before we change them.
            if (child?.StandardOutput.ReadLine() == "ready")
                return new TerminalGuard(child);
            child?.Dispose();
            return null;
        }
        catch (Win32Exception)
        {
            return null;
        }
    }
}
