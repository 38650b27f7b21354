using System.Diagnostics;
using System.Text;
using Trapline;
using Trapline.Agent;
using Trapline.Core;
using Trapline.Images;
using Trapline.Machine;
using Trapline.Storage;
using Trapline.Testing;

namespace Guest.Tests;

/// <summary>A Linux guest with disks: its own file system on one, a read-only one, and what a copy and a snapshot make of them.</summary>
[Collection("guests")]
public sealed class DiskTests : IDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(3);

    private readonly TemporaryDirectory _folder = new();

    public void Dispose() => _folder.Dispose();

    private string MakeFileSystem(string name)
    {
        string path = _folder.File(name);
        using (FileStream file = new(path, FileMode.CreateNew))
            file.SetLength(32 << 20);
        using Process mkfs = Process.Start(new ProcessStartInfo("mkfs.ext4", ["-q", path]) { RedirectStandardError = true })!;
        mkfs.WaitForExit();
        Assert.Equal(0, mkfs.ExitCode);
        return path;
    }

    private static async Task<VirtualMachine> BootAsync(string engine, int cpus, params DiskDevice[] disks)
    {
        GuestImages images = await GuestImageStore.ForUser().GetAsync(null, CancellationToken.None);
        VirtualMachine machine = VirtualMachine.CreateDefaultGuest(images, new MachineSpecification
        {
            Cpu = new CpuSpecification { Engine = engine, Count = cpus },
            Devices = new DeviceSpecification { Disks = disks, Entropy = true },
            End = new EndSpecification { NoReboot = true },
        });
        machine.Start();
        Assert.True(await machine.WaitForAgentAsync().WaitAsync(Limit));
        return machine;
    }

    private static async Task<string> AskAsync(VirtualMachine machine, string script)
    {
        using MemoryStream output = new();
        ProgramResult result = await machine.ExecuteAsync(VirtualMachine.Program("sh", "-ec", script) with { Stdout = output, Stderr = output }).WaitAsync(Limit);
        string said = Encoding.UTF8.GetString(output.ToArray());
        Assert.True(result == new ProgramResult(ProgramEnd.Exited, 0), $"{result}: {said}");
        return said;
    }

    private static DiskDevice Open(string path, bool readOnly = false) =>
        new(path, DiskImage.Open(new DiskSpecification { Path = path, Format = ImageFormat.Raw, ReadOnly = readOnly }), System.IO.Path.GetFileNameWithoutExtension(path));

    [GuestTheory("mkfs.ext4", "e2fsck")]
    [InlineData("translator", 1)]
    [InlineData("interpreter", 1)]
    public async Task AnExt4FileSystemKeepsWhatTheGuestWrote(string engine, int cpus)
    {
        string path = MakeFileSystem("data.img");
        DiskDevice disk = Open(path);
        using (disk.Backend)
        {
            using VirtualMachine machine = await BootAsync(engine, cpus, disk);
            string sum = await AskAsync(machine, """
                mkdir /d; mount -t ext4 /dev/vda /d; cat /sys/block/vda/serial >&2; dd if=/dev/hwrng of=/d/random bs=64k count=16 2>/dev/null
                for i in $(seq 50); do echo $i > /d/file$i; done; sync; echo 3 > /proc/sys/vm/drop_caches; cat /d/random /d/file* | md5sum
                """);
            Assert.Contains("data", sum);
            string again = await AskAsync(machine, "umount /d; mount -t ext4 -o ro /dev/vda /d; cat /d/random /d/file* | md5sum; umount /d");
            Assert.EndsWith(again, sum, StringComparison.Ordinal);
            await machine.PowerOffAsync();
        }
        using Process check = Process.Start(new ProcessStartInfo("e2fsck", ["-fn", path]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        string found = await check.StandardOutput.ReadToEndAsync();
        await check.WaitForExitAsync();
        Assert.True(check.ExitCode == 0, found);
    }

    [GuestTheory("mkfs.ext4")]
    [InlineData("translator", 1)]
    public async Task AReadOnlyDiskIsSharedByCopiesAndAWritableOneIsNot(string engine, int cpus)
    {
        DiskDevice shared = Open(MakeFileSystem("shared.img"), readOnly: true);
        using (shared.Backend)
        {
            using VirtualMachine machine = await BootAsync(engine, cpus, shared);
            Assert.StartsWith("1\n", await AskAsync(machine, "cat /sys/block/vda/ro; mkdir /d; mount -t ext4 -o ro,noload /dev/vda /d; ls /d"), StringComparison.Ordinal);
            string path = _folder.File("snapshot");
            await machine.SaveAsync(path);
            using VirtualMachine copy = (await machine.ForkAsync(1))[0];
            foreach (VirtualMachine each in (VirtualMachine[])[machine, copy])
                Assert.Contains("lost+found", await AskAsync(each, "umount /d; echo 3 > /proc/sys/vm/drop_caches; mount -t ext4 -o ro,noload /dev/vda /d; ls /d; dd if=/dev/vda of=/dev/null bs=1M count=8"));
            Assert.Contains("missing", Assert.Throws<BadInputException>(() => VirtualMachine.Restore(path)).Message);
            using VirtualMachine restored = VirtualMachine.Restore(path, saved => saved with { Devices = saved.Devices with { Disks = [shared] } });
            restored.Start();
            Assert.Contains("lost+found", await AskAsync(restored, "umount /d; mount -t ext4 -o ro,noload /dev/vda /d; ls /d"));
        }
        DiskDevice own = Open(MakeFileSystem("own.img"));
        using (own.Backend)
        {
            using VirtualMachine machine = await BootAsync(engine, cpus, own);
            Assert.Contains("own.img", (await Assert.ThrowsAsync<BadInputException>(() => machine.ForkAsync(1))).Message);
        }
    }
}
