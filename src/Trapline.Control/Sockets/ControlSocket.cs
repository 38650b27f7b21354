using System.Net.Sockets;
using Trapline.Core;

namespace Trapline.Control.Sockets;

/// <summary>A machine's name, claimed: a Unix socket that listens as long as this process lives.</summary>
/// <remarks>
/// The socket itself says whether its process lives: the kernel refuses connections to the file that a dead one left. Names are claimed, and dead
/// sockets removed, under the directory's lock, so that nobody mistakes a socket for dead that is just being made.
/// </remarks>
public sealed class ControlSocket : IDisposable
{
    /// <summary>Of sockaddr_un, the end mark included: unix(7).</summary>
    private const int LongestPath = 107;

    private readonly RuntimeDirectory _directory;

    private ControlSocket(RuntimeDirectory directory, string name, Socket listener)
    {
        _directory = directory;
        Name = name;
        Listener = listener;
    }

    public string Name { get; }

    public string Path => _directory.SocketOf(Name);

    internal Socket Listener { get; }

    /// <exception cref="BadInputException">The name is no name, or in use, or the directory refuses.</exception>
    public static ControlSocket Claim(RuntimeDirectory directory, string name) => TryClaim(directory, name)
        ?? throw new BadInputException($"the name '{name}' is in use: choose another, or end that machine with trapline stop {name}");

    /// <summary>Null if the name is in use.</summary>
    /// <exception cref="BadInputException">The name is no name, or the directory refuses.</exception>
    public static ControlSocket? TryClaim(RuntimeDirectory directory, string name)
    {
        string path = directory.SocketOf(MachineName.Check(name));
        if (System.Text.Encoding.UTF8.GetByteCount(path) > LongestPath)
            throw new BadInputException($"the socket's path '{path}' is longer than {LongestPath} bytes: use a shorter name, or a shorter XDG_RUNTIME_DIR");
        using FileStream held = directory.Lock();
        if (File.Exists(path) && IsAlive(path))
            return null;
        File.Delete(path);
        Socket listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            listener.Bind(new UnixDomainSocketEndPoint(path));
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            listener.Listen();
            return new ControlSocket(directory, name, listener);
        }
        catch (Exception e) when (e is SocketException or IOException)
        {
            listener.Dispose();
            throw new BadInputException($"the socket '{path}' cannot be made: {e.Message.TrimEnd('.')}");
        }
    }

    /// <summary>Removes what a dead process left under this name; true if there was something.</summary>
    public static bool RemoveIfDead(RuntimeDirectory directory, string name)
    {
        using FileStream held = directory.Lock();
        string path = directory.SocketOf(name);
        if (!File.Exists(path) || IsAlive(path))
            return false;
        File.Delete(path);
        return true;
    }

    /// <summary>Closes and removes the socket.</summary>
    public void Dispose()
    {
        // .NET removes the file after closing it: without the lock, the file might be the next owner's by then.
        using FileStream held = _directory.Lock();
        Listener.Dispose();
    }

    /// <summary>Whether some process has the socket open; one whose queue is full does, too.</summary>
    private static bool IsAlive(string path)
    {
        using Socket probe = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { Blocking = false };
        try
        {
            probe.Connect(new UnixDomainSocketEndPoint(path));
            return true;
        }
        catch (SocketException e)
        {
            return e.SocketErrorCode is not (SocketError.ConnectionRefused or SocketError.AddressNotAvailable);
        }
    }
}
