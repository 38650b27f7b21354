using System.Security.Cryptography;
using System.Text;
using Trapline.Core;
using Trapline.Machine;

namespace Trapline.Images;

/// <summary>The default guest's kernel and busybox: fetched once from the system's package archive, then kept in the user's cache.</summary>
/// <remarks>
/// The guest is a folder that appears whole, by a rename, so any number of processes may fetch at once: the first one wins.
/// A manifest beside the files holds their SHA-256, which is checked at every use.
/// </remarks>
public sealed class GuestImageStore(string cacheDirectory)
{
    // The number changes when the folder's layout does.
    private const string Folder = "guest-4";
    private const string Manifest = "SHA256SUMS";
    private const string KernelFile = "vmlinuz";
    private const string BusyboxFile = "busybox";

    private string GuestDirectory => Path.Combine(cacheDirectory, Folder);

    /// <summary>The store in $XDG_CACHE_HOME/trapline, by default ~/.cache/trapline.</summary>
    /// <exception cref="BadInputException">There is no home directory.</exception>
    public static GuestImageStore ForUser() => new(UserDirectory());

    internal static string UserDirectory()
    {
        string? cache = Environment.GetEnvironmentVariable("XDG_CACHE_HOME");
        if (string.IsNullOrEmpty(cache) || !Path.IsPathRooted(cache))
        {
            string? home = Environment.GetEnvironmentVariable("HOME");
            if (string.IsNullOrEmpty(home))
                throw new BadInputException("there is no cache directory: set HOME or XDG_CACHE_HOME, or give --kernel FILE");
            cache = Path.Combine(home, ".cache");
        }
        return Path.Combine(cache, "trapline");
    }

    /// <summary>The guest from the cache, fetched first if it is not there or damaged.</summary>
    /// <exception cref="BadInputException">It cannot be fetched or kept; the message says what to do.</exception>
    public async Task<GuestImages> GetAsync(IProgress<FetchProgress>? progress, CancellationToken cancellation)
    {
        if (TryRead() is { } cached)
            return cached;
        try
        {
            await FetchAsync(progress, cancellation).ConfigureAwait(false);
        }
        catch (Exception e) when (e is UnauthorizedAccessException or IOException)
        {
            throw new BadInputException(
                $"cannot write the cache directory '{cacheDirectory}': {Reason(e)}; set XDG_CACHE_HOME to a directory that you can write");
        }
        return TryRead() ?? throw new BadInputException($"the guest in '{GuestDirectory}' changes while it is read: remove that directory and try again");
    }

    /// <summary>The guest from the cache, or null if it is missing, incomplete or damaged.</summary>
    public GuestImages? TryRead()
    {
        try
        {
            string manifest = File.ReadAllText(Path.Combine(GuestDirectory, Manifest));
            Dictionary<string, string> sums = [];
            string description = "";
            foreach (string line in manifest.Split('\n', StringSplitOptions.RemoveEmptyEntries))
            {
                if (line.StartsWith('#'))
                    description = line[1..].Trim();
                else if (line.Split("  ", 2) is [string sum, string name])
                    sums[name] = sum;
            }
            // The kernel is most of it: another thread reads and checks that.
            Task<byte[]?> kernel = Task.Run(() => Checked(KernelFile, sums));
            byte[]? busybox = Checked(BusyboxFile, sums);
            List<(string, byte[])> modules = ReadModules(sums);
            return kernel.GetAwaiter().GetResult() is { } whole && busybox is not null
                ? new GuestImages(description, Path.Combine(GuestDirectory, KernelFile), whole, busybox, modules)
                : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private List<(string Name, byte[] Content)> ReadModules(Dictionary<string, string> sums)
    {
        List<(string, byte[])> modules = [];
        foreach (string name in GuestModules.All)
        {
            if (Checked(name, sums) is { } content)
                modules.Add((name, content));
        }
        return modules;
    }

    private byte[]? Checked(string name, Dictionary<string, string> sums)
    {
        if (!sums.TryGetValue(name, out string? expected))
            return null;
        using FileStream file = new(Path.Combine(GuestDirectory, name), FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        byte[] content = BootFile.ReadContent(file);
        return Convert.ToHexStringLower(SHA256.HashData(content)) == expected ? content : null;
    }

    private async Task FetchAsync(IProgress<FetchProgress>? progress, CancellationToken cancellation)
    {
        using ScratchDirectory scratch = ScratchDirectory.Create(cacheDirectory);
        AptClient apt = new(scratch.MakeDirectory("apt"), progress);
        await apt.UpdateAsync(cancellation).ConfigureAwait(false);
        AptPackage kernel = await apt.ResolveAsync("linux-image-cloud-amd64", "linux-image-", cancellation).ConfigureAwait(false);
        AptPackage busybox = await apt.ResolveAsync("busybox-static", null, cancellation).ConfigureAwait(false);
        string kernelPackage = await apt.DownloadAsync(kernel, cancellation).ConfigureAwait(false);
        string busyboxPackage = await apt.DownloadAsync(busybox, cancellation).ConfigureAwait(false);

        progress?.Report(new FetchProgress("unpacking " + kernel.Name));
        string guest = scratch.MakeDirectory("guest");
        List<(Func<string, bool> Wanted, string Target)> wanted = [(IsKernel, KernelFile)];
        wanted.AddRange(GuestModules.All.Select(m => ((Func<string, bool>)(path => path.EndsWith("/" + m, StringComparison.Ordinal)), m)));
        await DebPackage.ExtractAsync(kernelPackage, guest, wanted, cancellation).ConfigureAwait(false);
        await DebPackage.ExtractAsync(busyboxPackage, guest, [(IsBusybox, BusyboxFile)], cancellation).ConfigureAwait(false);
        foreach ((string file, string package) in new[] { (KernelFile, kernel.Name), (BusyboxFile, busybox.Name) })
        {
            if (!File.Exists(Path.Combine(guest, file)))
                throw new BadInputException($"the package {package} holds no {file}: give --kernel FILE instead");
        }
        WriteManifest(guest, $"{kernel.Name} {kernel.Version}, {busybox.Name} {busybox.Version}");
        Publish(guest);
    }

    private static bool IsKernel(string path) => path.StartsWith("boot/vmlinuz-", StringComparison.Ordinal);

    private static bool IsBusybox(string path) => path is "bin/busybox" or "usr/bin/busybox";

    private static void WriteManifest(string guest, string description)
    {
        StringBuilder manifest = new($"# {description}\n");
        foreach (string file in Directory.GetFiles(guest).Order(StringComparer.Ordinal))
            manifest.Append($"{Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(file)))}  {Path.GetFileName(file)}\n");
        File.WriteAllText(Path.Combine(guest, Manifest), manifest.ToString());
    }

    /// <summary>Puts the new guest in its place. Where another process was first, its guest stays.</summary>
    private void Publish(string guest)
    {
        if (Directory.Exists(GuestDirectory) && TryRead() == null)
        {
            // Damaged: out of the way first. Should another process do the same now, one of the two renames fails and that is fine.
            string damaged = guest + ".damaged";
            Directory.Move(GuestDirectory, damaged);
        }
        try
        {
            Directory.Move(guest, GuestDirectory);
        }
        catch (IOException) when (TryRead() != null)
        {
            // Another process was faster.
        }
    }

    private static string Reason(Exception e) => e switch
    {
        FileNotFoundException or DirectoryNotFoundException => "it cannot be made there",
        UnauthorizedAccessException => "permission denied",
        _ => e.Message.Split('\n')[0].TrimEnd('.', '\r'),
    };
}
