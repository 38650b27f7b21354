using Trapline.Consoles;
using Trapline.Core;

namespace Trapline.Tests;

public class ConsoleTests
{
    [Fact]
    public void EverythingSentHasArrivedAfterDispose()
    {
        using MemoryStream output = new();
        byte[] sent = new byte[3_000_000];
        new Random(1).NextBytes(sent);
        using (StreamConsole console = new(output))
        {
            for (int i = 0; i < sent.Length; i += 1000)
                console.Write(sent.AsSpan(i, 1000));
        }
        Assert.Equal(sent, output.ToArray());
    }

    [Fact]
    public void OutputThatFailsDoesNotStopTheGuest()
    {
        MemoryStream output = new();
        output.Close();
        using StreamConsole console = new(output);
        for (int i = 0; i < 3000; i++)
            console.Write(new byte[1000]);
    }

    [Fact]
    public void TheTailShowsThePanicAndNoControlCharacters()
    {
        ConsoleTail tail = new(NullCharacterBackend.Instance);
        tail.Write("old\r\n\u001b[31mone\r\nKernel panic - not syncing: x\r\ntrace\r\n\r\nend\r\n"u8);
        Assert.Equal(["old", "[31mone", "Kernel panic - not syncing: x", "trace"], tail.LastLines(4));
        Assert.True(tail.SawPanic);
    }

    [Fact]
    public void TheTailForgetsWhatIsOld()
    {
        ConsoleTail tail = new(NullCharacterBackend.Instance);
        for (int i = 0; i < 10_000; i++)
            tail.Write(System.Text.Encoding.UTF8.GetBytes($"line {i}\n"));
        Assert.Equal(["line 9998", "line 9999"], tail.LastLines(2));
    }
}
