using System.Buffers.Binary;
using System.Diagnostics;
using Iced.Intel;
using Trapline.Core;
using Trapline.Testing;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Machine.Tests;

/// <summary>A machine in a file: goes on from it, and is refused with one line when anything about the file is wrong.</summary>
public sealed class SnapshotTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("trapline-test-").FullName;
    private readonly DebugLine _line = new();

    private string FilePath => Path.Combine(_folder, "machine.snapshot");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>Fills a page, says it is ready, and sums the page up when it is let go on: exit status 3 if the page is as it was.</summary>
    private static void SumPage(Assembler a)
    {
        Label fill = a.CreateLabel(), wait = a.CreateLabel(), sum = a.CreateLabel();
        a.mov(edi, 0x30_0000);
        a.mov(ecx, 1024);
        a.Label(ref fill);
        a.mov(__dword_ptr[edi], ecx);
        a.add(edi, 4);
        a.dec(ecx);
        a.jnz(fill);
        SmallGuest.Say(a, 'R');
        a.mov(ecx, 100_000_000); // long for the interpreter, so that it is saved before; short for what goes on with it
        a.Label(ref wait);
        a.dec(ecx);
        a.jnz(wait);
        a.mov(esi, 0x30_0000);
        a.mov(ecx, 1024);
        a.xor(edx, edx);
        a.Label(ref sum);
        a.add(edx, __dword_ptr[esi]);
        a.add(esi, 4);
        a.dec(ecx);
        a.jnz(sum);
        a.cmp(edx, 1024 * 1025 / 2);
        a.sete(al);
        a.@out(0xF4, al);
        a.hlt();
    }

    private static DeviceSpecification OneDisk(int length, bool readOnly = false) =>
        new() { Entropy = true, Disks = [new DiskDevice("some.img", new MemoryDisk(length, readOnly))] };

    [Fact]
    public async Task AMachineWithADiskGoesOnWithADiskLikeItsOwnOnly()
    {
        await SaveAsync(OneDisk(1 << 20));
        using Snapshot snapshot = Snapshot.Open(FilePath);
        MachineSpecification saved = snapshot.Image.Specification;
        Assert.Contains("'some.img' of the saved machine is missing", Refusal(saved.Devices));
        Assert.Contains("not like", Refusal(saved.Devices with { Disks = OneDisk(1 << 19).Disks }));
        Assert.Contains("not like", Refusal(saved.Devices with { Disks = OneDisk(1 << 20, readOnly: true).Disks }));
        Assert.Contains("give it no more", Refusal(saved.Devices with { Disks = [.. OneDisk(1 << 20).Disks, .. OneDisk(1 << 20).Disks] }));
        Assert.Contains("the devices that it had", Refusal(OneDisk(1 << 20) with { Entropy = false }));
        using GuestMachine machine = GuestMachine.Continue(snapshot.Image, saved with { Devices = OneDisk(1 << 20) });

        string Refusal(DeviceSpecification devices) =>
            Assert.Throws<BadInputException>(() => GuestMachine.Continue(snapshot.Image, saved with { Devices = devices })).Message;
    }

    [Fact]
    public async Task AMachineWithASharedFolderGoesOnWithAFolderThatIsGivenOnly()
    {
        await SaveAsync(new DeviceSpecification { Shares = [new ShareDevice("src", _folder), new ShareDevice("out", _folder, ReadOnly: true)] });
        using Snapshot snapshot = Snapshot.Open(FilePath);
        MachineSpecification saved = snapshot.Image.Specification;
        Assert.Equal([new ShareDevice("src", null), new ShareDevice("out", null, ReadOnly: true)], saved.Devices.Shares);
        Assert.DoesNotContain(_folder, System.Text.Encoding.UTF8.GetString(await File.ReadAllBytesAsync(FilePath)), StringComparison.Ordinal);
        ShareDevice src = new("src", _folder), other = new("out", _folder);
        Assert.Contains("share 'src' of the saved machine is missing", Refusal());
        Assert.Contains("share 'out' of the saved machine is missing", Refusal(src));
        Assert.Contains("in their order", Refusal(other, src));
        Assert.Contains("in their order", Refusal(src, other, new ShareDevice("more", _folder)));
        Assert.Contains("does not exist", Refusal(src, other with { Folder = Path.Combine(_folder, "missing") }));
        using GuestMachine machine = GuestMachine.Continue(snapshot.Image, saved with { Devices = saved.Devices with { Shares = [src, other] } });

        string Refusal(params ShareDevice[] shares) =>
            Assert.Throws<BadInputException>(() => GuestMachine.Continue(snapshot.Image, saved with { Devices = saved.Devices with { Shares = shares } })).Message;
    }

    [Theory]
    [InlineData("", "is empty")]
    [InlineData("a b", "is no tag")]
    [InlineData("twice", "is there twice")]
    public void ATagIsAName(string tag, string complaint)
    {
        MachineSpecification specification = SmallGuest.Specification(SumPage, _line, megabytes: 16) with
        {
            Devices = new DeviceSpecification { Shares = [new ShareDevice("twice", _folder), new ShareDevice(tag, _folder)] },
        };
        Assert.Contains($"share '{tag}' {complaint}", Assert.Throws<BadInputException>(() => GuestMachine.Create(specification)).Message);
    }

    private async Task<MachineSpecification> SaveAsync(DeviceSpecification? devices = null)
    {
        MachineSpecification specification = SmallGuest.Specification(SumPage, _line, megabytes: 16) with { Devices = devices ?? new() };
        using GuestMachine machine = GuestMachine.Create(specification);
        machine.Start();
        while (_line.Count == 0)
            await Task.Delay(1);
        using MachineImage image = machine.Capture();
        Snapshot.Write(image, FilePath);
        return specification;
    }

    private static async Task<MachineOutcome> GoOnAsync(Snapshot snapshot)
    {
        MachineSpecification saved = snapshot.Image.Specification;
        using GuestMachine machine = GuestMachine.Continue(snapshot.Image, saved with { Cpu = saved.Cpu with { Engine = "translator" } });
        return await machine.RunAsync();
    }

    [Fact]
    public async Task AMachineGoesOnFromItsFileAsOftenAsOneLikes()
    {
        await SaveAsync();
        for (int i = 0; i < 5; i++)
        {
            using Snapshot snapshot = Snapshot.Open(FilePath);
            Assert.Null(snapshot.CheckMemory());
            MachineOutcome outcome = await GoOnAsync(snapshot);
            Assert.Equal((MachineEnd.DebugExit, 3), (outcome.End, outcome.DebugExitCode));
        }
    }

    [Fact]
    public async Task WhatIsZeroTakesNoSpace()
    {
        await SaveAsync();
        Assert.True(new FileInfo(FilePath).Length > 16 << 20);
        using Process du = Process.Start(new ProcessStartInfo("du", ["-k", FilePath]) { RedirectStandardOutput = true })!;
        string said = await du.StandardOutput.ReadToEndAsync();
        Assert.InRange(int.Parse(said.Split('\t')[0]), 8, 1024);
    }

    [Fact]
    public async Task ASavedMachineIsSavedAgainTheSame()
    {
        await SaveAsync();
        string second = Path.Combine(_folder, "second");
        using (Snapshot snapshot = Snapshot.Open(FilePath))
        using (GuestMachine machine = GuestMachine.Continue(snapshot.Image, snapshot.Image.Specification))
        using (MachineImage image = machine.Capture())
            Snapshot.Write(image, second);
        using Snapshot first = Snapshot.Open(FilePath), again = Snapshot.Open(second);
        Assert.Equal(Records(first), Records(again));
        Assert.Null(again.CheckMemory());

        static IEnumerable<string> Records(Snapshot s) => s.Image.Board.Parts.Where(p => p.Name is not ("rtc" or "pm")).Select(p => SavedStates.Store(p).State.ToString());
    }

    [Fact]
    public async Task AThousandMutatedFilesAreRefusedWithOneLineOrRestoredCorrectly()
    {
        await SaveAsync();
        byte[] whole = await File.ReadAllBytesAsync(FilePath);
        string mutant = Path.Combine(_folder, "mutant");
        await File.WriteAllBytesAsync(mutant, whole);
        Random random = new(7);
        int refused = 0, restored = 0;
        for (int i = 0; i < 1000; i++)
        {
            (long at, int length) = Mutate(mutant, whole, random, i);
            string? refusal = Refusal(mutant);
            if (refusal is not null)
            {
                refused++;
                Assert.DoesNotContain('\n', refusal);
                Assert.StartsWith("the snapshot '", refusal, StringComparison.Ordinal);
            }
            else
            {
                restored++;
                if (restored <= 3)
                {
                    using Snapshot snapshot = Snapshot.Open(mutant);
                    Assert.Equal(3, (await GoOnAsync(snapshot)).DebugExitCode);
                }
            }
            using FileStream file = new(mutant, FileMode.Open, FileAccess.Write);
            file.SetLength(whole.Length);
            file.Position = at;
            file.Write(whole, (int)at, length);
        }
        Assert.True(refused > 900, $"{refused} refused, {restored} restored");
    }

    /// <summary>Changes the file, and returns the range to be mended.</summary>
    private static (long At, int Length) Mutate(string path, byte[] whole, Random random, int kind)
    {
        using FileStream file = new(path, FileMode.Open, FileAccess.ReadWrite);
        // Half of them where the most is: header, records and manifest.
        int tail = whole.Length - 64 * 1024, at = kind % 4 == 0 ? random.Next(SnapshotHeader.Size) : kind % 4 == 1 ? random.Next(tail, whole.Length) : random.Next(whole.Length);
        switch (kind % 10)
        {
            case 8:
                file.SetLength(at);
                return (at, whole.Length - at);
            case 9:
                file.SetLength(whole.Length + random.Next(1, 5000));
                return (0, 0);
            case 7:
                int length = random.Next(1, Math.Min(whole.Length - at, 4096) + 1);
                byte[] noise = new byte[length];
                random.NextBytes(noise);
                file.Position = at;
                file.Write(noise);
                return (at, length);
            default:
                file.Position = at;
                file.WriteByte((byte)(whole[at] ^ (1 << random.Next(8))));
                return (at, 1);
        }
    }

    private static string? Refusal(string path)
    {
        try
        {
            using Snapshot snapshot = Snapshot.Open(path);
            return snapshot.CheckMemory();
        }
        catch (BadInputException e)
        {
            return e.Message;
        }
    }

    [Fact]
    public async Task ForeignNewerAndMissingFilesAreRefused()
    {
        await SaveAsync();
        byte[] whole = await File.ReadAllBytesAsync(FilePath);
        Assert.Contains("does not exist", Refusal(FilePath + "2"), StringComparison.Ordinal);
        Assert.Contains("directory", Refusal(_folder), StringComparison.Ordinal);
        await File.WriteAllTextAsync(FilePath, "#!/bin/sh\n");
        Assert.Contains("not a snapshot", Refusal(FilePath), StringComparison.Ordinal);
        await File.WriteAllBytesAsync(FilePath, []);
        Assert.Contains("not a snapshot", Refusal(FilePath), StringComparison.Ordinal);
        whole[8] = 2;
        BinaryPrimitives.WriteUInt32LittleEndian(whole.AsSpan(SnapshotHeader.Size - 4), Crc32C.Compute(whole.AsSpan(0, SnapshotHeader.Size - 4)));
        await File.WriteAllBytesAsync(FilePath, whole);
        Assert.Contains("newer", Refusal(FilePath), StringComparison.Ordinal);
    }

    /// <summary>What a crash in the middle of a save leaves: the file before, whole, and the beginning of another beside it.</summary>
    [Fact]
    public async Task WhatACrashLeftIsOverwrittenByTheNextSave()
    {
        await SaveAsync();
        byte[] whole = await File.ReadAllBytesAsync(FilePath);
        await File.WriteAllBytesAsync(FilePath + ".part", new byte[100 << 20]);
        Assert.Null(Refusal(FilePath));
        using (Snapshot snapshot = Snapshot.Open(FilePath))
            Snapshot.Write(snapshot.Image, FilePath); // over the file that the image still reads
        Assert.Null(Refusal(FilePath));
        Assert.False(File.Exists(FilePath + ".part"));
        Assert.InRange(new FileInfo(FilePath).Length, whole.Length - 4096, whole.Length + 4096);
    }

    [Fact]
    public async Task AFileThatCannotBeWrittenLeavesTheMachineRunning()
    {
        using GuestMachine machine = GuestMachine.Create(SmallGuest.Specification(SumPage, _line, megabytes: 16));
        machine.Start();
        using (MachineImage image = machine.Capture())
        {
            string refusal = Assert.Throws<BadInputException>(() => Snapshot.Write(image, Path.Combine(_folder, "none", "x"))).Message;
            Assert.Contains("directory does not exist", refusal, StringComparison.Ordinal);
            Assert.Throws<BadInputException>(() => Snapshot.Write(image, _folder));
        }
        Assert.Equal(3, (await machine.Completion).DebugExitCode);
    }
}
