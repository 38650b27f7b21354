using System.Text;
using Trapline.Host;

namespace Trapline.Tests;

public class PseudoTerminalTests
{
    [Fact]
    public void WhatIsWrittenArrives()
    {
        using PseudoTerminal terminal = PseudoTerminal.Open();
        using FileStream other = Other(terminal);
        byte[] buffer = new byte[16];
        other.Write("hello"u8);
        Assert.Equal("hello", Encoding.UTF8.GetString(buffer, 0, terminal.Stream.Read(buffer)));
        terminal.Stream.Write("there"u8);
        Assert.Equal("there", Encoding.UTF8.GetString(buffer, 0, other.Read(buffer)));
    }

    /// <summary>They waited on, and went on with the next terminal when that got the same descriptor: its user saw nothing.</summary>
    [Fact]
    public async Task ClosingEndsItsReaders()
    {
        PseudoTerminal terminal = PseudoTerminal.Open();
        using FileStream other = Other(terminal);
        TaskCompletionSource begun = new();
        Task<int> reader = Task.Run(() =>
        {
            begun.SetResult();
            return terminal.Stream.Read(new byte[16]);
        });
        await begun.Task;
        await Task.Delay(200); // it waits by now
        terminal.Dispose();
        Assert.Equal(0, await reader.WaitAsync(TimeSpan.FromSeconds(20)));
        Assert.Throws<ObjectDisposedException>(() => terminal.Stream.Read(new byte[16]));
    }

    private static FileStream Other(PseudoTerminal terminal) =>
        new(terminal.Name, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
}
