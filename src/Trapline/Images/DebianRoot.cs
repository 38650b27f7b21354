using Trapline.Core;

namespace Trapline.Images;

/// <summary>A Debian root file system in an ext4 image: mmdebstrap installs the packages, mke2fs makes the file system of them. Needs no root.</summary>
internal static class DebianRoot
{
    /// <summary>Beside what is essential: what a shell with a network is used for.</summary>
    private const string Packages = "ca-certificates,iproute2,iputils-ping,less,netbase,procps";

    /// <summary>Sparse: on the host it is as large as what is in it.</summary>
    private const string Size = "8G";

    /// <returns>The image's path.</returns>
    public static async Task<string> BuildAsync(ScratchDirectory scratch, IProgress<FetchProgress>? progress, CancellationToken cancellation)
    {
        string? wrapper = Environment.IsPrivilegedProcess ? null
            : OnPath("fakeroot") ? "fakeroot"
            : throw new BadInputException("'fakeroot' is not installed: files of an image belong to root, which only fakeroot or root itself can write; install it");
        AptClient apt = new(scratch.MakeDirectory("apt"), progress);
        await apt.UpdateAsync(cancellation).ConfigureAwait(false);
        IReadOnlyList<AptSource> sources = await apt.DebianSourcesAsync(cancellation).ConfigureAwait(false);
        string program = OnPath("mmdebstrap") ? "mmdebstrap" : await FetchProgramAsync(scratch, apt, cancellation).ConfigureAwait(false);

        progress?.Report(new FetchProgress($"installing Debian {sources[0].Suite} (some minutes)"));
        string work = scratch.MakeDirectory("root"), archive = Path.Combine(work, "root.tar"), image = Path.Combine(work, "root.img");
        string list = Path.Combine(work, "sources.list");
        await File.WriteAllLinesAsync(list, sources.Select(s => s.Line), cancellation).ConfigureAwait(false);
        await RunAsync(program, ["--quiet", "--variant=minbase", "--include=" + Packages, "--format=tar", sources[0].Suite, archive, list], work, cancellation).ConfigureAwait(false);

        progress?.Report(new FetchProgress("making the file system"));
        // One shell, so that who owns what, which fakeroot remembers, is the same for both programs.
        const string script = "mkdir tree && tar -x --numeric-owner -f \"$1\" -C tree && printf 'trapline\\n' > tree/etc/hostname && "
            + "mke2fs -q -F -t ext4 -L trapline -E root_owner=0:0 -d tree \"$2\" " + Size + " && rm -rf tree \"$1\"";
        string[] shell = ["-c", "export PATH=\"$PATH:/usr/sbin:/sbin\"; " + script, "sh", archive, image];
        await (wrapper == null ? RunAsync("sh", shell, work, cancellation) : RunAsync(wrapper, ["--", "sh", .. shell], work, cancellation)).ConfigureAwait(false);
        return image;
    }

    /// <summary>mmdebstrap is one script: where it is not installed, its package does.</summary>
    private static async Task<string> FetchProgramAsync(ScratchDirectory scratch, AptClient apt, CancellationToken cancellation)
    {
        string package = await apt.DownloadAsync(await apt.ResolveAsync("mmdebstrap", null, cancellation).ConfigureAwait(false), cancellation).ConfigureAwait(false);
        string folder = scratch.MakeDirectory("tools");
        await RunAsync("dpkg-deb", ["-x", package, folder], folder, cancellation).ConfigureAwait(false);
        return Path.Combine(folder, "usr", "bin", "mmdebstrap");
    }

    private static async Task RunAsync(string program, string[] arguments, string directory, CancellationToken cancellation)
    {
        HostCommandResult result = await HostCommand.RunAsync(program, arguments, directory, cancellation).ConfigureAwait(false);
        if (result.ExitCode != 0)
            throw new BadInputException($"'{Path.GetFileName(program)}' could not build the image: {result.Complaint}");
    }

    private static bool OnPath(string program) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(folder => File.Exists(Path.Combine(folder, program)));
}
