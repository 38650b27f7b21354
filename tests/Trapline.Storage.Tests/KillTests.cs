using System.Diagnostics;
using Trapline.Fuzz.Images;
using Trapline.Testing;

namespace Trapline.Storage.Tests;

public sealed class KillTests : IDisposable
{
    private const int Kills = 100;
    private static readonly TimeSpan Most = TimeSpan.FromSeconds(40);
    private readonly TemporaryDirectory _folder = new();

    public void Dispose() => _folder.Dispose();

    /// <summary>Slow: every kill is a process. `./dev fuzz image-kill` goes on with thousands.</summary>
    [Fact]
    public void NothingFlushedIsLostAndNothingIsCorruptWhenAWriterIsKilled()
    {
        Stopwatch time = Stopwatch.StartNew();
        bool qemu = new FactNeedingAttribute("qemu-img").Skip == null;
        for (int i = 0; i < Kills && (time.Elapsed < Most || i < 20); i += 10)
        {
            ImageKillTrial trial = new(_folder.File("image.qcow2"), 100 + i);
            for (int kill = 0; kill < 10; kill++)
            {
                string? wrong = trial.Kill(qemu && kill == 9);
                Assert.True(wrong == null, $"image {100 + i}, kill {kill}: {wrong}");
            }
        }
    }
}
