using Trapline.Core;

namespace Trapline.Images;

/// <summary>The system's apt, used as an ordinary user: the system's sources and keys, but lists and cache in a folder of our own.</summary>
internal sealed class AptClient
{
    private const string Advice = "check the network connection, or give --kernel FILE and --initrd FILE";

    private readonly string _downloads;
    private readonly string[] _options;
    private readonly IProgress<FetchProgress>? _progress;

    public AptClient(string directory, IProgress<FetchProgress>? progress)
    {
        _progress = progress;
        string lists = Path.Combine(directory, "lists");
        string cache = Path.Combine(directory, "cache");
        _downloads = Path.Combine(directory, "packages");
        foreach (string path in new[] { Path.Combine(lists, "partial"), Path.Combine(cache, "archives", "partial"), _downloads })
            Directory.CreateDirectory(path);
        _options =
        [
            "-o", "Dir::State::lists=" + lists,
            "-o", "Dir::Cache=" + cache,
            // We own the folders, so apt must not switch to a user of its own, as it does for root.
            "-o", "APT::Sandbox::User=" + Environment.UserName,
            "-o", "APT::Update::Error-Mode=any",
            "-o", "Acquire::Languages=none",
            "-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
            "-o", "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false",
            "-o", "Acquire::Retries=2",
            "-o", "Acquire::http::Timeout=20",
            "-o", "Acquire::https::Timeout=20",
        ];
    }

    public async Task UpdateAsync(CancellationToken cancellation)
    {
        _progress?.Report(new FetchProgress("fetching package lists"));
        await RunAsync("apt-get", ["-q", "update"], "cannot fetch the package lists", cancellation).ConfigureAwait(false);
    }

    /// <summary>The newest version of a package; for a meta package, of the package with the given prefix that it depends on.</summary>
    public async Task<AptPackage> ResolveAsync(string name, string? metaPrefix, CancellationToken cancellation)
    {
        AptPackage package = await ShowAsync(name, cancellation).ConfigureAwait(false);
        return metaPrefix != null && package.Dependency(metaPrefix) is { } real
            ? await ShowAsync(real, cancellation).ConfigureAwait(false)
            : package;
    }

    /// <summary>Downloads a package, which apt checks against the signed lists, and returns its path.</summary>
    public async Task<string> DownloadAsync(AptPackage package, CancellationToken cancellation)
    {
        string activity = "fetching " + package.Name;
        _progress?.Report(new FetchProgress(activity, 0, package.Size));
        string folder = Directory.CreateDirectory(Path.Combine(_downloads, package.Name)).FullName;
        Task download = RunAsync("apt-get", ["-q", "download", $"{package.Name}={package.Version}"],
            $"cannot fetch the package {package.Name}", cancellation, folder);
        while (await Task.WhenAny(download, Task.Delay(200, cancellation)).ConfigureAwait(false) != download && !cancellation.IsCancellationRequested)
            _progress?.Report(new FetchProgress(activity, SizeOf(folder), package.Size));
        await download.ConfigureAwait(false);
        _progress?.Report(new FetchProgress(activity, package.Size, package.Size));
        return Directory.GetFiles(folder, "*.deb").FirstOrDefault()
            ?? throw new BadInputException($"cannot fetch the package {package.Name}: apt-get left no file; {Advice}");
    }

    /// <summary>Debian's own archives among the system's sources; the release itself comes first.</summary>
    public async Task<IReadOnlyList<AptSource>> DebianSourcesAsync(CancellationToken cancellation)
    {
        HostCommandResult result = await HostCommand.RunAsync(
            "apt-get", [.. _options, "indextargets", "--format", "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)|$(CREATED_BY)"], null, cancellation).ConfigureAwait(false);
        IReadOnlyList<AptSource> sources = AptSource.Parse(result.Output);
        return sources is [{ } first, ..] && !first.Suite.Contains('-') ? sources
            : throw new BadInputException("the system's apt has no Debian release among its sources: add a Debian source to apt's configuration");
    }

    private static long SizeOf(string folder) =>
        new DirectoryInfo(folder).EnumerateFiles("*", SearchOption.AllDirectories).Sum(f => f.Length);

    private async Task<AptPackage> ShowAsync(string name, CancellationToken cancellation)
    {
        HostCommandResult result = await HostCommand.RunAsync("apt-cache", [.. _options, "show", name], null, cancellation).ConfigureAwait(false);
        return AptPackage.Parse(result.Output) ?? throw new BadInputException(
            $"the system's package archive has no '{name}': add a Debian source to apt's configuration, or give --kernel FILE and --initrd FILE");
    }

    private async Task RunAsync(string program, string[] arguments, string failure, CancellationToken cancellation, string? directory = null)
    {
        HostCommandResult result = await HostCommand.RunAsync(program, [.. _options, .. arguments], directory, cancellation).ConfigureAwait(false);
        if (result.ExitCode != 0)
            throw new BadInputException($"{failure}: {result.Complaint}; {Advice}");
    }
}
