using Trapline.Storage.Faults;

namespace Trapline.Storage.Tests;

public class PowerLossTests
{
    [Fact]
    public void NothingFlushedIsLostAndNothingIsCorruptWhateverArrives()
    {
        for (int seed = 0; seed < 1500; seed++)
        {
            string? wrong = PowerLossTrial.Run(seed);
            Assert.True(wrong == null, $"seed {seed}: {wrong}");
        }
    }
}
