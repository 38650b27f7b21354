using System.ComponentModel;
using System.Runtime.InteropServices;
using System.Text;

namespace Trapline.Host;

/// <summary>A pseudo-terminal: we hold the master, anyone may open <see cref="Name"/>.</summary>
/// <remarks>Unsafe for the calls alone: they fill locals of this method.</remarks>
public sealed unsafe class PseudoTerminal : IDisposable
{
    private readonly int _master;
    private readonly int _slave;

    private PseudoTerminal(int master, int slave, string name)
    {
        _master = master;
        _slave = slave;
        Name = name;
        Stream = new DescriptorStream(master, dropWhenFull: true);
    }

    /// <summary>The path to open, such as /dev/pts/3.</summary>
    public string Name { get; }

    public Stream Stream { get; }

    /// <exception cref="IOException">The host has no pseudo-terminal left.</exception>
    public static PseudoTerminal Open()
    {
        int master = TerminalCalls.OpenPseudoTerminal(
            TerminalCalls.OpenReadWrite | TerminalCalls.OpenNoControllingTerminal | TerminalCalls.OpenCloseOnExec | TerminalCalls.OpenNonBlocking);
        if (master < 0)
            throw Failure();
        byte* name = stackalloc byte[128];
        int slave = -1;
        if (TerminalCalls.GrantPseudoTerminal(master) == 0 && TerminalCalls.UnlockPseudoTerminal(master) == 0
            && TerminalCalls.NamePseudoTerminal(master, name, 128) == 0)
        {
            string path = Encoding.UTF8.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(name));
            // Held open, so that the master does not fail whenever nobody else has it open; and raw, so that nothing is echoed to the guest.
            slave = TerminalCalls.Open(path, TerminalCalls.OpenReadWrite | TerminalCalls.OpenNoControllingTerminal | TerminalCalls.OpenCloseOnExec, 0);
            TerminalCalls.Termios settings;
            if (slave >= 0 && TerminalCalls.GetAttributes(slave, &settings) == 0)
            {
                TerminalCalls.MakeRaw(&settings);
                TerminalCalls.SetAttributes(slave, TerminalCalls.TcsaNow, &settings);
                return new PseudoTerminal(master, slave, path);
            }
        }
        IOException failure = Failure();
        if (slave >= 0)
            Libc.Close(slave);
        Libc.Close(master);
        throw failure;
    }

    public void Dispose()
    {
        Libc.Close(_slave);
        Libc.Close(_master);
    }

    private static IOException Failure() => new(new Win32Exception(Marshal.GetLastPInvokeError()).Message);
}
