using Trapline.Core;
using Trapline.Images;
using Trapline.Testing;

namespace Trapline.Tests;

/// <summary>The cache of guest packages against scripts that play apt. They change PATH, so these tests run by themselves.</summary>
[Collection(nameof(GuestImageStoreTests))]
[CollectionDefinition(nameof(GuestImageStoreTests), DisableParallelization = true)]
public sealed class GuestImageStoreTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly string? _path = Environment.GetEnvironmentVariable("PATH");

    public GuestImageStoreTests()
    {
        string root = Directory.CreateDirectory(_directory.File("root")).FullName;
        Directory.CreateDirectory(Path.Combine(root, "boot"));
        Directory.CreateDirectory(Path.Combine(root, "bin"));
        Directory.CreateDirectory(Path.Combine(root, "lib/x"));
        File.WriteAllText(Path.Combine(root, "boot/vmlinuz-9"), "kernel");
        File.WriteAllText(Path.Combine(root, "bin/busybox"), "busybox");
        File.WriteAllText(Path.Combine(root, "lib/x/pvpanic.ko"), "module");
        Script("dpkg-deb", $"exec tar -C '{root}' -cf - .");
        Script("apt-cache", """
            for name; do :; done
            case $name in
              linux-image-cloud-amd64) printf 'Package: %s\nVersion: 9\nDepends: linux-image-9 (= 9)\nSize: 1\n\nPackage: old\n' "$name" ;;
              *) printf 'Package: %s\nVersion: 9-1\nSize: 3\n' "$name" ;;
            esac
            """);
        Apt("case \"$*\" in *download*) echo deb > package.deb ;; esac");
        Environment.SetEnvironmentVariable("PATH", _directory.File("programs") + ":" + _path);
    }

    private string Cache => _directory.File("cache/trapline");

    public void Dispose()
    {
        Environment.SetEnvironmentVariable("PATH", _path);
        _directory.Dispose();
    }

    [FactNeeding("tar", "sh")]
    public async Task FetchesOnceAndThenReadsTheCache()
    {
        GuestImageStore store = new(Cache);
        List<string> progress = [];
        GuestImages images = await store.GetAsync(new Reporter(progress), CancellationToken.None);
        Assert.Equal("kernel"u8.ToArray(), images.Kernel);
        Assert.Equal("busybox"u8.ToArray(), images.Busybox);
        Assert.Equal(["pvpanic.ko"], images.Modules.Select(m => m.Name));
        Assert.Equal("linux-image-9 9-1, busybox-static 9-1", images.Description);
        Assert.Contains("fetching package lists", progress);
        Apt("exit 9");
        Assert.Equal(images.Kernel, (await store.GetAsync(null, CancellationToken.None)).Kernel);
        Assert.Equal(["guest-4"], Directory.GetFileSystemEntries(Cache).Select(Path.GetFileName));
    }

    [FactNeeding("tar", "sh")]
    public async Task DamagedCacheIsFetchedAnew()
    {
        GuestImageStore store = new(Cache);
        await store.GetAsync(null, CancellationToken.None);
        File.WriteAllText(Path.Combine(Cache, "guest-4/vmlinuz"), "kernex");
        Assert.Null(store.TryRead());
        Assert.Equal("kernel"u8.ToArray(), (await store.GetAsync(null, CancellationToken.None)).Kernel);
    }

    [FactNeeding("tar", "sh")]
    public async Task ManyAtOnceAllGetTheGuest()
    {
        GuestImages[] all = await Task.WhenAll(Enumerable.Range(0, 5)
            .Select(_ => Task.Run(() => new GuestImageStore(Cache).GetAsync(null, CancellationToken.None))));
        Assert.All(all, images => Assert.Equal("kernel"u8.ToArray(), images.Kernel));
        Assert.Equal(["guest-4"], Directory.GetFileSystemEntries(Cache).Select(Path.GetFileName));
    }

    [FactNeeding("sh")]
    public async Task NoNetworkIsOneLineAndLeavesNothing()
    {
        Apt("echo 'W: noise' >&2; echo 'E: Failed to fetch lists' >&2; exit 100");
        string message = await ComplaintAsync(Cache);
        Assert.Contains("cannot fetch the package lists: Failed to fetch lists; check the network", message);
        Assert.False(Directory.Exists(_directory.File("cache")));
    }

    [FactNeeding("sh")]
    public async Task MissingPackageIsNamed()
    {
        Script("apt-cache", "echo 'E: No packages found' >&2; exit 100");
        Assert.Contains("no 'linux-image-cloud-amd64'", await ComplaintAsync(Cache));
        Assert.False(Directory.Exists(_directory.File("cache")));
    }

    [FactNeeding("sh")]
    public async Task BrokenPackageIsOneLineAndLeavesNothing()
    {
        Script("dpkg-deb", "echo 'dpkg-deb: error: bad archive' >&2; exit 2");
        Assert.Contains("cannot be unpacked", await ComplaintAsync(Cache));
        Assert.False(Directory.Exists(_directory.File("cache")));
    }

    [Fact]
    public async Task UnwritableCacheIsNamed()
    {
        File.WriteAllText(_directory.File("file"), "");
        string cache = _directory.File("file/trapline");
        Assert.Contains($"cannot write the cache directory '{cache}'", await ComplaintAsync(cache));
    }

    [FactNeeding("sh", "sleep")]
    public async Task CancellingStopsAptAndLeavesNothing()
    {
        Apt("sleep 60");
        using CancellationTokenSource cancel = new(TimeSpan.FromMilliseconds(300));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => new GuestImageStore(Cache).GetAsync(null, cancel.Token));
        Assert.False(Directory.Exists(_directory.File("cache")));
    }

    private static async Task<string> ComplaintAsync(string cache)
    {
        string message = (await Assert.ThrowsAsync<BadInputException>(() => new GuestImageStore(cache).GetAsync(null, CancellationToken.None))).Message;
        Assert.DoesNotContain('\n', message);
        return message;
    }

    private void Apt(string script) => Script("apt-get", script);

    private void Script(string name, string text)
    {
        string path = Path.Combine(Directory.CreateDirectory(_directory.File("programs")).FullName, name);
        File.WriteAllText(path, "#!/bin/sh\n" + text + "\n");
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    private sealed class Reporter(List<string> activities) : IProgress<FetchProgress>
    {
        public void Report(FetchProgress value) => activities.Add(value.Activity);
    }
}
