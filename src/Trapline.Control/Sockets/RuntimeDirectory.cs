using Trapline.Core;
using Trapline.Host;

namespace Trapline.Control.Sockets;

/// <summary>The folder with the sockets of a user's machines: only that user gets in.</summary>
public sealed class RuntimeDirectory
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const string Suffix = ".sock";

    private RuntimeDirectory(string path)
    {
        Path = path;
    }

    public string Path { get; }

    /// <summary>Names of the sockets that are there, whether somebody answers or not.</summary>
    public IReadOnlyList<string> Names =>
        [.. Directory.EnumerateFiles(Path, "*" + Suffix).Select(f => System.IO.Path.GetFileNameWithoutExtension(f)).Where(MachineName.IsValid).Order(StringComparer.Ordinal)];

    /// <summary>Opens the user's own, which is made if it is not there: in $XDG_RUNTIME_DIR, else in /tmp.</summary>
    /// <exception cref="BadInputException">It cannot be made, or others may write to it.</exception>
    public static RuntimeDirectory ForUser() =>
        Open(Environment.GetEnvironmentVariable("XDG_RUNTIME_DIR") is { Length: > 0 } runtime && System.IO.Path.IsPathRooted(runtime)
            ? System.IO.Path.Combine(runtime, "trapline")
            : $"/tmp/trapline-{FileOwner.OfThisProcess}");

    /// <exception cref="BadInputException">It cannot be made, or others may write to it.</exception>
    public static RuntimeDirectory Open(string path)
    {
        try
        {
            Directory.CreateDirectory(path, OwnerOnly);
            // Somebody else may have made it before us, in a folder that is everybody's: a link elsewhere, or a folder of theirs.
            (uint owner, UnixFileMode mode, bool isDirectory) = FileOwner.Of(path);
            if (!isDirectory)
                throw new BadInputException($"the runtime directory '{path}' is no directory of its own: remove it");
            if (owner != FileOwner.OfThisProcess)
                throw new BadInputException($"the runtime directory '{path}' belongs to another user: set XDG_RUNTIME_DIR to a directory of yours");
            if ((mode & ~OwnerOnly) != 0)
                throw new BadInputException($"the runtime directory '{path}' is open to others: chmod 700 it");
            return new RuntimeDirectory(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BadInputException($"the runtime directory '{path}' cannot be used: {e.Message.TrimEnd('.')}; set XDG_RUNTIME_DIR to a directory of yours");
        }
    }

    /// <summary>Where the socket of a machine is, or would be.</summary>
    public string SocketOf(string name) => System.IO.Path.Combine(Path, name + Suffix);

    /// <summary>Keeps others from claiming and removing sockets until it is disposed. The kernel lets go of it should this process die.</summary>
    /// <exception cref="BadInputException">Somebody holds it for longer than such work can take.</exception>
    internal FileStream Lock()
    {
        string path = System.IO.Path.Combine(Path, "lock");
        using ManualResetEventSlim never = new();
        for (int tries = 500; ; tries--)
        {
            try
            {
                // flock(2) LOCK_EX is what FileShare.None is on Unix. The file stays: an unlinked lock would be two locks.
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException) when (tries > 0)
            {
                never.Wait(10);
            }
            catch (IOException e)
            {
                throw new BadInputException($"'{path}' cannot be locked: {e.Message.TrimEnd('.')}");
            }
        }
    }
}
