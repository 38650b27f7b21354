using Trapline.Storage.Faults;

namespace Trapline.Storage.Tests;

public class MutatedImageTests
{
    [Fact]
    public void AMutatedImageIsUsedOrRefusedAndNothingElse()
    {
        MutatedImageTrial trial = new(
            MutatedImageTrial.MakeOriginals(() => new MemoryImageFile(), file => ((MemoryImageFile)file).ToArray()), image => new MemoryImageFile(image));
        for (int seed = 0; seed < 1500; seed++)
        {
            string? wrong = trial.Run(seed);
            Assert.True(wrong == null, $"seed {seed}: {wrong}");
        }
    }
}
