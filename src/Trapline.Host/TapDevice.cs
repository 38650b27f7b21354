using System.ComponentModel;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Trapline.Host;

/// <summary>A tap device of the kernel (linux/if_tun.h): what is written comes out of the host's interface of its name, and the other way round.</summary>
/// <remarks>Unsafe for the calls alone: each gets pinned spans with their lengths, or locals of the method.</remarks>
public sealed unsafe class TapDevice : IDisposable
{
    private const ulong SetInterface = 0x400454CA, SetHeaderSize = 0x400454D8, SetOffload = 0x400454D0;
    private const ushort Tap = 2, NoPacketInformation = 0x1000, VirtioHeader = 0x4000;
    private const uint Checksum = 1, Segments4 = 2, Segments6 = 4;
    private const ulong GetIndex = 0x8933, GetMtu = 0x8921;
    private const int NameLength = 16, RequestLength = 40;

    private readonly SafeFileHandle _handle, _wake;

    private TapDevice(string name, SafeFileHandle handle, SafeFileHandle wake) => (Name, _handle, _wake) = (name, handle, wake);

    public string Name { get; }

    /// <summary>As the interface has it now; 1500 if it does not say.</summary>
    public int Mtu => Ask(Name, GetMtu) ?? 1_500;

    /// <param name="name">Of an interface that is there.</param>
    /// <param name="headerBytes">Of virtio's header before each frame.</param>
    /// <exception cref="IOException">There is none, or it is not for this process.</exception>
    public static TapDevice Open(string name, int headerBytes)
    {
        // The kernel would make one, for those who may.
        if (Ask(name, GetIndex) is null)
            throw new IOException("there is no such interface");
        int descriptor = TerminalCalls.Open("/dev/net/tun", TerminalCalls.OpenReadWrite | TerminalCalls.OpenNonBlocking | TerminalCalls.OpenCloseOnExec, 0);
        if (descriptor < 0)
            throw new IOException("/dev/net/tun: " + new Win32Exception(Marshal.GetLastPInvokeError()).Message);
        SafeFileHandle handle = new(descriptor, ownsHandle: true);
        // struct ifreq: the name, then flags.
        byte* request = stackalloc byte[RequestLength];
        Name16(name, request);
        *(ushort*)(request + NameLength) = Tap | NoPacketInformation | VirtioHeader;
        if (TerminalCalls.Control(descriptor, SetInterface, request) != 0 || TerminalCalls.Control(descriptor, SetHeaderSize, &headerBytes) != 0)
        {
            IOException failure = new(new Win32Exception(Marshal.GetLastPInvokeError()).Message);
            handle.Dispose();
            throw failure;
        }
        int wake = TerminalCalls.OpenEvent(0, TerminalCalls.OpenCloseOnExec | TerminalCalls.OpenNonBlocking);
        TapDevice device = new(name, handle, new SafeFileHandle(wake, ownsHandle: true));
        device.SetOffloads(false, false, false);
        return device;
    }

    /// <summary>What the kernel may leave undone in frames that are received.</summary>
    public void SetOffloads(bool checksum, bool segments4, bool segments6)
    {
        uint flags = (checksum ? Checksum : 0) | (checksum && segments4 ? Segments4 : 0) | (checksum && segments6 ? Segments6 : 0);
        TerminalCalls.Control(Descriptor, SetOffload, (void*)flags);
    }

    /// <summary>Waits for a frame with its header.</summary>
    /// <returns>Its length; -1 if the device is gone or <see cref="Wake"/> was called.</returns>
    public int Receive(Span<byte> buffer)
    {
        fixed (byte* start = buffer)
        {
            while (true)
            {
                nint count = TerminalCalls.Read(Descriptor, start, (nuint)buffer.Length);
                if (count >= 0)
                    return (int)count;
                int error = Marshal.GetLastPInvokeError();
                if (error == TerminalCalls.Eintr)
                    continue;
                if (error != TerminalCalls.Eagain)
                    return -1;
                if (!WaitForFrame())
                    return -1;
            }
        }
    }

    /// <summary>Sends a frame behind its header; false if the kernel does not take it now.</summary>
    public bool Send(ReadOnlySpan<byte> header, ReadOnlySpan<byte> frame)
    {
        fixed (byte* first = header, second = frame)
        {
            Libc.IoVector* vectors = stackalloc Libc.IoVector[2];
            vectors[0] = new() { Start = first, Length = (nuint)header.Length };
            vectors[1] = new() { Start = second, Length = (nuint)frame.Length };
            return Libc.WriteVector(Descriptor, vectors, 2) >= 0;
        }
    }

    /// <summary>Ends a <see cref="Receive"/> under way, and every later one that would wait.</summary>
    public void Wake()
    {
        ulong one = 1;
        TerminalCalls.Write((int)_wake.DangerousGetHandle(), (byte*)&one, sizeof(ulong));
    }

    public void Dispose()
    {
        _handle.Dispose();
        _wake.Dispose();
    }

    /// <summary>False if somebody wakes the waiter instead.</summary>
    private bool WaitForFrame()
    {
        TerminalCalls.PollEntry* entries = stackalloc TerminalCalls.PollEntry[2];
        entries[0] = new() { Descriptor = Descriptor, Events = TerminalCalls.PollIn };
        entries[1] = new() { Descriptor = (int)_wake.DangerousGetHandle(), Events = TerminalCalls.PollIn };
        TerminalCalls.Poll(entries, 2, -1);
        return entries[1].Returned == 0;
    }

    private int Descriptor => (int)_handle.DangerousGetHandle();

    /// <summary>A number of an interface (netdevice(7)); null if there is no such interface.</summary>
    private static int? Ask(string name, ulong question)
    {
        int socket = Libc.Socket(Libc.FamilyInternet, Libc.SocketDatagram | Libc.SocketCloseOnExec, 0);
        byte* request = stackalloc byte[RequestLength];
        Name16(name, request);
        int? answer = TerminalCalls.Control(socket, question, request) == 0 ? *(int*)(request + NameLength) : null;
        Libc.Close(socket);
        return answer;
    }

    /// <summary>The beginning of struct ifreq: the name, in zeros.</summary>
    private static void Name16(string name, byte* request)
    {
        new Span<byte>(request, RequestLength).Clear();
        Encoding.ASCII.GetBytes(name.AsSpan(0, Math.Min(name.Length, NameLength - 1)), new Span<byte>(request, NameLength - 1));
    }
}
