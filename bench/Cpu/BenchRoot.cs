using Trapline.Core;
using Trapline.Images;

namespace Trapline.Bench;

/// <summary>Debian's programs for the guest, unpacked: fetched once with the system's apt as an ordinary user, then kept in the cache.</summary>
internal static class BenchRoot
{
    // The number changes when the list of packages does.
    private const string Folder = "bench-1";

    private static readonly string[] Wanted = ["xz-utils", "tcc", "python3-minimal", "perl-base", "sqlite3", "openssl"];

    // They matter to an installed system, not to a program that runs.
    private static readonly string[] NotNeeded =
        ["dpkg", "debconf", "libc-bin", "install-info", "tar", "sensible-utils", "libgcc-s1", "media-types", "tzdata", "openssl-provider-legacy", "libc6-dev"];

    private static readonly string[] Ballast = ["usr/share", "usr/lib/x86_64-linux-gnu/gconv", "usr/include", "var", "etc/init.d"];

    public static async Task<string> GetAsync(IProgress<FetchProgress> progress, CancellationToken cancellation)
    {
        string cache = GuestImageStore.UserDirectory();
        string root = Path.Combine(cache, Folder);
        if (Directory.Exists(root))
            return root;
        using ScratchDirectory scratch = ScratchDirectory.Create(cache);
        AptClient apt = new(scratch.MakeDirectory("apt"), progress);
        await apt.UpdateAsync(cancellation).ConfigureAwait(false);
        string unpacked = scratch.MakeDirectory("root");
        foreach (AptPackage package in await ClosureAsync(apt, cancellation).ConfigureAwait(false))
        {
            string file = await apt.DownloadAsync(package, cancellation).ConfigureAwait(false);
            HostCommandResult result = await HostCommand.RunAsync("dpkg-deb", ["-x", file, unpacked], null, cancellation).ConfigureAwait(false);
            if (result.ExitCode != 0)
                throw new BadInputException($"the package {package.Name} cannot be unpacked: {result.Complaint}; try again");
        }
        foreach (string path in Ballast.Select(b => Path.Combine(unpacked, b)).Where(Directory.Exists))
            Directory.Delete(path, recursive: true);
        JoinWithUsr(unpacked);
        try
        {
            Directory.Move(unpacked, root);
        }
        catch (IOException) when (Directory.Exists(root))
        {
            // Another process was faster.
        }
        return root;
    }

    private static async Task<IEnumerable<AptPackage>> ClosureAsync(AptClient apt, CancellationToken cancellation)
    {
        Dictionary<string, AptPackage> closure = [];
        Queue<string> open = new(Wanted);
        while (open.TryDequeue(out string? name))
        {
            if (closure.ContainsKey(name) || NotNeeded.Contains(name))
                continue;
            AptPackage package = await apt.ResolveAsync(name, null, cancellation).ConfigureAwait(false);
            closure[name] = package;
            foreach (string dependency in package.Dependencies)
                open.Enqueue(dependency);
        }
        return closure.Values;
    }

    /// <summary>Newer packages have everything below usr/ and leave the links of the root to an installed system.</summary>
    private static void JoinWithUsr(string root)
    {
        foreach (string name in new[] { "bin", "sbin", "lib", "lib64" })
        {
            if (!Directory.Exists(Path.Combine(root, name)) && Directory.Exists(Path.Combine(root, "usr", name)))
                File.CreateSymbolicLink(Path.Combine(root, name), "usr/" + name);
        }
    }
}
