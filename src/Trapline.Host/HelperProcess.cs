using System.ComponentModel;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Trapline.Host;

/// <summary>A program of the host that serves one thing of ours over a socket, and that ends when it is disposed.</summary>
/// <remarks>
/// .NET's Process cannot hand a socket on. The helper has a process group of its own, so that a terminal's Ctrl-C is not for it; a helper that ends with
/// its socket ends with this process too, however that ends, since no other holds the other end. What it says is kept by a pipe that loses what does
/// not fit, so that nobody has to read it. Until it is waited for, here and nowhere else, its number is nobody else's.
/// Unsafe for the calls alone: they get locals, and memory that is freed after the call.
/// </remarks>
public sealed unsafe class HelperProcess : IDisposable
{
    /// <summary>The socket's number in the helper.</summary>
    public const int SocketNumber = 3;

    private const int PollMilliseconds = 5;

    private readonly Lock _gate = new();
    private readonly int _process;
    private readonly SafeFileHandle _sayings;
    private bool _ended;

    private HelperProcess(int process, SafeFileHandle sayings) => (_process, _sayings) = (process, sayings);

    public int Id => _process;

    /// <summary>Where a program is, by PATH; null if it is not installed.</summary>
    public static string? Find(string program) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries)
            .Select(folder => Path.Combine(folder, program)).FirstOrDefault(File.Exists);

    /// <param name="path">The program.</param>
    /// <param name="arguments">Without the program's name.</param>
    /// <param name="socket">It gets this as descriptor <see cref="SocketNumber"/>; the caller closes its own.</param>
    /// <exception cref="IOException">It cannot be started.</exception>
    public static HelperProcess Start(string path, IReadOnlyList<string> arguments, SafeHandle socket)
    {
        int* pipe = stackalloc int[2];
        if (ProcessCalls.Pipe(pipe, TerminalCalls.OpenCloseOnExec | TerminalCalls.OpenNonBlocking) != 0)
            throw new IOException(new Win32Exception(Marshal.GetLastPInvokeError()).Message);
        SafeFileHandle sayings = new(pipe[0], ownsHandle: true);
        using SafeFileHandle said = new(pipe[1], ownsHandle: true);
        ProcessCalls.Opaque actions, attributes, signals;
        ProcessCalls.InitializeActions(&actions);
        ProcessCalls.InitializeAttributes(&attributes);
        byte** argv = Strings([path, .. arguments]), environment = Strings([.. Variables()]);
        try
        {
            ProcessCalls.AddOpen(&actions, 0, "/dev/null", 0, 0);
            ProcessCalls.AddDuplicate(&actions, pipe[1], 1);
            ProcessCalls.AddDuplicate(&actions, pipe[1], 2);
            ProcessCalls.AddDuplicate(&actions, (int)socket.DangerousGetHandle(), SocketNumber);
            ProcessCalls.SetFlags(&attributes, ProcessCalls.SetGroup | ProcessCalls.SetSignalDefaults | ProcessCalls.SetSignalMask);
            ProcessCalls.AllSignals(&signals);
            ProcessCalls.SetDefaults(&attributes, &signals);
            ProcessCalls.NoSignals(&signals);
            ProcessCalls.SetMask(&attributes, &signals);
            int process, error = ProcessCalls.Spawn(&process, path, &actions, &attributes, argv, environment);
            if (error == 0)
                return new HelperProcess(process, sayings);
            sayings.Dispose();
            throw new IOException(new Win32Exception(error).Message);
        }
        finally
        {
            ProcessCalls.DestroyActions(&actions);
            ProcessCalls.DestroyAttributes(&attributes);
            Free(argv);
            Free(environment);
        }
    }

    /// <summary>Waits for its end; false if it runs on after this time.</summary>
    public bool WaitForEnd(int milliseconds)
    {
        for (int waited = 0; ; waited += PollMilliseconds)
        {
            lock (_gate)
            {
                int status;
                _ended = _ended || ProcessCalls.Wait(_process, &status, ProcessCalls.NoHang) != 0;
                if (_ended)
                    return true;
            }
            if (waited >= milliseconds)
                return false;
            TerminalCalls.Poll(null, 0, PollMilliseconds);
        }
    }

    /// <summary>The lines it has said since it was asked last, on both of its outputs.</summary>
    public IReadOnlyList<string> TakeSayings()
    {
        byte[] text = new byte[1 << 16];
        fixed (byte* start = text)
        {
            nint count = TerminalCalls.Read((int)_sayings.DangerousGetHandle(), start, (nuint)text.Length);
            return Encoding.UTF8.GetString(text, 0, (int)Math.Max(count, 0)).Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        }
    }

    /// <summary>Ends it, at once if it does not end by itself within a tenth of a second.</summary>
    public void Dispose()
    {
        if (!WaitForEnd(100))
        {
            ProcessCalls.Signal(_process, ProcessCalls.Kill);
            WaitForEnd(int.MaxValue);
        }
        _sayings.Dispose();
    }

    private static IEnumerable<string> Variables()
    {
        foreach (System.Collections.DictionaryEntry variable in Environment.GetEnvironmentVariables())
            yield return $"{variable.Key}={variable.Value}";
    }

    private static byte** Strings(string[] texts)
    {
        byte** all = (byte**)NativeMemory.AllocZeroed((nuint)texts.Length + 1, (nuint)sizeof(byte*));
        for (int i = 0; i < texts.Length; i++)
            all[i] = (byte*)Marshal.StringToCoTaskMemUTF8(texts[i]);
        return all;
    }

    private static void Free(byte** all)
    {
        for (byte** text = all; *text != null; text++)
            Marshal.FreeCoTaskMem((nint)(*text));
        NativeMemory.Free(all);
    }
}
