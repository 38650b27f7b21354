using System.ComponentModel;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Trapline.Host;

/// <summary>A pseudo-terminal: we hold the master, anyone may open <see cref="Name"/>.</summary>
/// <remarks>Unsafe for the calls alone: they fill locals of this method.</remarks>
public sealed unsafe class PseudoTerminal : IDisposable
{
    private readonly SafeFileHandle _master;
    private readonly SafeFileHandle _slave;
    private readonly SafeFileHandle _closing;

    private PseudoTerminal(int master, int slave, int closing, string name)
    {
        _master = new SafeFileHandle(master, ownsHandle: true);
        _slave = new SafeFileHandle(slave, ownsHandle: true);
        _closing = new SafeFileHandle(closing, ownsHandle: true);
        Name = name;
        Stream = new DescriptorStream(_master, dropWhenFull: true, _closing);
    }

    /// <summary>The path to open, such as /dev/pts/3.</summary>
    public string Name { get; }

    /// <summary>What the others write and read. A read under way returns 0 when this object is disposed.</summary>
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
                int closing = TerminalCalls.OpenEvent(0, TerminalCalls.OpenCloseOnExec);
                if (closing >= 0)
                    return new PseudoTerminal(master, slave, closing, path);
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
        // A reader that sits in poll would otherwise wait for ever, or go on with whatever file gets the number next.
        if (_closing.IsClosed)
            return;
        ulong one = 1;
        TerminalCalls.Write((int)_closing.DangerousGetHandle(), (byte*)&one, sizeof(ulong));
        _slave.Dispose();
        _master.Dispose();
        _closing.Dispose();
    }

    private static IOException Failure() => new(new Win32Exception(Marshal.GetLastPInvokeError()).Message);
}
