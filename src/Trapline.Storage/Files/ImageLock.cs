using Trapline.Core;
using Trapline.Host;

namespace Trapline.Storage.Files;

/// <summary>Keeps an image that somebody writes to one user, and lets readers share one that nobody writes.</summary>
/// <remarks>
/// The locked bytes are those that QEMU uses, so its tools see our locks and we see theirs: byte 100 + n is locked by who does the operation n, byte 200 + n
/// by who does not let others do it. Locks are taken first and looked at then, so of two users that come at once both may be refused, never none.
/// </remarks>
internal static class ImageLock
{
    private const int UsedBase = 100, RefusedBase = 200;
    private const int ConsistentRead = 0, Write = 1, Resize = 3;

    /// <exception cref="BadInputException">Somebody else uses the file.</exception>
    public static void Take(HostFile file, string path, bool writable)
    {
        int[] used = writable ? [ConsistentRead, Write, Resize] : [ConsistentRead];
        int[] refused = [Write, Resize];
        foreach (long at in used.Select(n => UsedBase + n).Concat(refused.Select(n => RefusedBase + n)))
        {
            if (!file.TryLockShared(at))
                throw InUse(path, writable);
        }
        if (used.Any(n => file.IsLockedElsewhere(RefusedBase + n)) || refused.Any(n => file.IsLockedElsewhere(UsedBase + n)))
            throw InUse(path, writable);
    }

    private static BadInputException InUse(string path, bool writable) => new(writable
        ? $"'{path}' is in use: an image that is written can have one user; wait until the other one ends, or open it for reading only everywhere"
        : $"'{path}' is being written by somebody else: wait until that ends");
}
