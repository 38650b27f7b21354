using System.Diagnostics;
using System.Net.Sockets;
using Trapline.Control.Client;
using Trapline.Control.Sockets;
using Trapline.Core;
using Trapline.Testing;

namespace Trapline.Control.Tests;

/// <summary>Names: who may have one, and what becomes of it when its owner dies.</summary>
public sealed class SocketTests : IDisposable
{
    private readonly TemporaryDirectory _folder = new();

    private RuntimeDirectory Runtime => RuntimeDirectory.Open(_folder.File("run"));

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("a", true)]
    [InlineData("Build-7_x.y", true)]
    [InlineData("", false)]
    [InlineData(".", false)]
    [InlineData("..", false)]
    [InlineData("-x", false)]
    [InlineData("a/b", false)]
    [InlineData("a b", false)]
    [InlineData("ä", false)]
    [InlineData("a\n", false)]
    public void NamesAreFileNamesThatHurtNobody(string name, bool valid)
    {
        Assert.Equal(valid, MachineName.IsValid(name));
        Assert.Equal(valid, !Throws(() => MachineName.Check(name)));
        Assert.True(MachineName.IsValid(new string('n', 64)));
        Assert.False(MachineName.IsValid(new string('n', 65)));
    }

    [Fact]
    public void DirectoryAndSocketAreTheOwnersAlone()
    {
        using ControlSocket socket = ControlSocket.Claim(Runtime, "mine");
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(Runtime.Path));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(socket.Path));
        Assert.Equal(["mine"], Runtime.Names);
    }

    [Fact]
    public void ANameInUseIsRefusedAndFreeAfterwards()
    {
        using (ControlSocket.Claim(Runtime, "mine"))
        {
            BadInputException refused = Assert.Throws<BadInputException>(() => ControlSocket.Claim(Runtime, "mine"));
            Assert.StartsWith("the name 'mine' is in use", refused.Message);
            ControlSocket.Claim(Runtime, "other").Dispose();
        }
        Assert.Empty(Runtime.Names);
        ControlSocket.Claim(Runtime, "mine").Dispose();
    }

    [Fact]
    public async Task WhatADeadProcessLeftIsRemoved()
    {
        // A bound socket whose process is gone: .NET removes its own when it closes them, so the link is kept under another name meanwhile.
        string path = Runtime.SocketOf("dead"), kept = _folder.File("kept");
        using (Socket left = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            left.Bind(new UnixDomainSocketEndPoint(path));
            left.Listen();
            File.Move(path, kept);
        }
        File.Move(kept, path);
        Assert.Equal(["dead"], Runtime.Names);
        Assert.Contains("there is no machine 'dead'", Assert.Throws<BadInputException>(() => MachineFinder.Find(Runtime, "dead")).Message);
        Assert.Empty(Runtime.Names);

        await File.WriteAllTextAsync(path, "not even a socket");
        (var machines, var silent) = await MachineFinder.ListAsync(Runtime);
        Assert.Empty(machines);
        Assert.Empty(silent);
        Assert.False(File.Exists(path));
    }

    [Fact]
    public void AnUnknownNameIsAnsweredWithThoseThatAreThere()
    {
        using ControlSocket one = ControlSocket.Claim(Runtime, "one"), two = ControlSocket.Claim(Runtime, "two");
        Assert.Equal("there is no machine 'three': running are one, two", Assert.Throws<BadInputException>(() => MachineFinder.Find(Runtime, "three")).Message);
    }

    [Fact]
    public void ADirectoryThatIsNotOursAloneIsRefused()
    {
        string open = _folder.File("open");
        Directory.CreateDirectory(open, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute);
        File.SetUnixFileMode(open, File.GetUnixFileMode(open) | UnixFileMode.OtherRead);
        Assert.Contains("is open to others", Assert.Throws<BadInputException>(() => RuntimeDirectory.Open(open)).Message);
        string link = _folder.File("link");
        File.CreateSymbolicLink(link, Runtime.Path);
        Assert.Contains("is no directory of its own", Assert.Throws<BadInputException>(() => RuntimeDirectory.Open(link)).Message);
        string file = _folder.File("file");
        File.WriteAllText(file, "");
        Assert.Throws<BadInputException>(() => RuntimeDirectory.Open(file));
    }

    [Fact]
    public void APathThatNoSocketCanHaveIsRefused()
    {
        RuntimeDirectory deep = RuntimeDirectory.Open(_folder.File(new string('d', 90)));
        Assert.Contains("longer than 107 bytes", Assert.Throws<BadInputException>(() => ControlSocket.Claim(deep, "name")).Message);
    }

    /// <summary>Many processes (here: threads) want one name at once: one gets it.</summary>
    [Fact]
    public async Task OneOfManyGetsTheName()
    {
        RuntimeDirectory runtime = Runtime;
        ControlSocket?[] claims = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => Task.Run(() =>
        {
            try
            {
                return ControlSocket.Claim(runtime, "wanted");
            }
            catch (BadInputException)
            {
                return null;
            }
        })));
        Assert.Single(claims, c => c != null)!.Dispose();
    }

    /// <summary>A process that was stopped is not dead: nobody takes its name, and asking does not wait for ever.</summary>
    [Fact]
    public async Task ASilentMachineIsReportedAsSuch()
    {
        using ControlSocket silent = ControlSocket.Claim(Runtime, "silent");
        Stopwatch watch = Stopwatch.StartNew();
        (var machines, var names) = await MachineFinder.ListAsync(Runtime);
        Assert.Empty(machines);
        Assert.Equal(["silent"], names);
        Assert.InRange(watch.Elapsed.TotalSeconds, 0, 60);
        Assert.True(File.Exists(silent.Path));
    }

    private static bool Throws(Action action)
    {
        try
        {
            action();
            return false;
        }
        catch (BadInputException)
        {
            return true;
        }
    }
}
