using System.Security.Cryptography;
using System.Text;
using Trapline;
using Trapline.Agent;
using Trapline.Core;
using Trapline.Images;
using Trapline.Machine;
using Trapline.Testing;

namespace Guest.Tests;

/// <summary>A Linux guest with folders of the host: what one side does, the other sees.</summary>
[Collection("guests")]
public sealed class ShareTests : IDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(3);

    private readonly TemporaryDirectory _folder = new();

    public void Dispose() => _folder.Dispose();

    private string Host(string path) => Path.Combine(_folder.Path, path);

    private static async Task<VirtualMachine> BootAsync(string engine, int cpus, bool withoutPci, params ShareDevice[] shares)
    {
        GuestImages images = await GuestImageStore.ForUser().GetAsync(null, CancellationToken.None);
        VirtualMachine machine = VirtualMachine.CreateDefaultGuest(images, new MachineSpecification
        {
            Cpu = new CpuSpecification { Engine = engine, Count = cpus },
            Devices = new DeviceSpecification { Shares = shares, WithoutPci = withoutPci },
            End = new EndSpecification { NoReboot = true },
        });
        machine.Start();
        Assert.True(await machine.WaitForAgentAsync().WaitAsync(Limit));
        return machine;
    }

    private static async Task<(ProgramResult Result, string Said)> RunAsync(VirtualMachine machine, string script)
    {
        using MemoryStream output = new();
        ProgramResult result = await machine.ExecuteAsync(VirtualMachine.Program("sh", "-ec", script) with { Stdout = output, Stderr = output }).WaitAsync(Limit);
        return (result, Encoding.UTF8.GetString(output.ToArray()));
    }

    private static async Task<string> AskAsync(VirtualMachine machine, string script)
    {
        (ProgramResult result, string said) = await RunAsync(machine, script);
        Assert.True(result == new ProgramResult(ProgramEnd.Exited, 0), $"{result}: {said}");
        return said;
    }

    /// <summary>A tree with folders, empty and large files, links and names that need care.</summary>
    private void MakeTree(string name)
    {
        Random random = new(7);
        for (int i = 0; i < 60; i++)
        {
            string inner = Directory.CreateDirectory(Host($"{name}/d{i % 7}/e{i % 3}")).FullName;
            byte[] content = new byte[i % 10 == 0 ? random.Next(3 << 20) : random.Next(20_000)];
            random.NextBytes(content);
            File.WriteAllBytes(Path.Combine(inner, $"file {i} ü\n"), content);
        }
        File.WriteAllText(Host(name + "/empty"), "");
        File.CreateSymbolicLink(Host(name + "/link"), "d0/e0");
    }

    /// <summary>The sums of a tree's files, by their paths.</summary>
    private string[] Sums(string name) =>
        [.. Directory.GetFiles(Host(name), "file*", SearchOption.AllDirectories)
            .Select(f => $"{Convert.ToHexStringLower(MD5.HashData(File.ReadAllBytes(f)))} {Path.GetRelativePath(Host(name), f)}").Order(StringComparer.Ordinal)];

    [GuestTheory]
    [InlineData("translator", 1, false)]
    [InlineData("interpreter", 2, true)]
    public async Task ATreeIsCopiedInAndOut(string engine, int cpus, bool withoutPci)
    {
        MakeTree("tree");
        using VirtualMachine machine = await BootAsync(engine, cpus, withoutPci, new ShareDevice("src", _folder.Path));
        string sums = await AskAsync(machine, """
            cd /mnt/src; cp -a tree /tmp/tree; cp -a /tmp/tree back; readlink back/link >&2; rm -rf /tmp/tree
            echo 3 > /proc/sys/vm/drop_caches; find tree -type f -print0 | sort -z | xargs -0 cat | md5sum; find back -type f -print0 | sort -z | xargs -0 cat | md5sum
            """);
        string[] lines = sums.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(["d0/e0", lines[1], lines[1]], lines);
        Assert.Equal(Sums("tree"), Sums("back"));
        Assert.Equal(File.GetLastWriteTimeUtc(Host("tree/empty")), File.GetLastWriteTimeUtc(Host("back/empty")), TimeSpan.FromSeconds(1)); // busybox keeps seconds
        await AskAsync(machine, "rm -rf /mnt/src/back; sync");
        Assert.Equal(["tree"], Directory.GetFileSystemEntries(_folder.Path).Select(e => Path.GetFileName(e)));
        Assert.Equal(MachineEnd.PowerOff, (await machine.PowerOffAsync()).End);
    }

    [GuestTheory]
    [InlineData("translator", 1)]
    [InlineData("translator", 4)]
    public async Task FilesAreUsedAsProgramsUseThem(string engine, int cpus)
    {
        using VirtualMachine machine = await BootAsync(engine, cpus, withoutPci: false, new ShareDevice("src", _folder.Path));
        string said = await AskAsync(machine, """
            cd /mnt/src
            mkdir many; for i in $(seq 500); do echo $i > many/$i; done; ls many | wc -l; cat many/* | md5sum; seq 500 | sort | md5sum
            echo one > a; echo two >> a; printf three >> a; wc -c < a; truncate -s 5 a; cat a; echo
            mv a b; ln b c; stat -c '%h %u %g' c; rm b; cat c; echo; ln -s c s; cat s; echo
            exec 3<>c; rm c; echo gone >&3; exec 3>&-; [ ! -e c ]
            mkdir -p x/y; echo deep > x/y/f; mv x z; cat z/y/f; cd z/y; mv ../../z ../../w; cat f; cd /mnt/src; rmdir w 2>&1 | sed 's/.*: //'; rm -r w
            dd if=/dev/urandom of=r bs=1k count=300 2> /dev/null; cp r r2; cmp r r2; dd if=r2 of=r bs=4k seek=3 count=2 conv=notrunc 2> /dev/null; stat -c %s r
            (for i in 1 2 3 4; do (for j in $(seq 50); do echo $i-$j > many/p$i-$j; mv many/p$i-$j many/q$i-$j; done) & done; wait); ls many | wc -l
            (set -C; echo 1 > HEAD.lock; echo 2 > HEAD.lock) 2>&1 | sed 's/.*: //'; mv HEAD.lock HEAD; cat HEAD; rm HEAD
            cp /bin/busybox busybox1; ./busybox1 echo mapped; cp busybox1 b2; mv b2 busybox1; ./busybox1 sha256sum busybox1 /bin/busybox | cut -c 1-64 | uniq | wc -l; rm busybox1
            rm -rf many; ls | sort | tr '\n' ' '
            """);
        string[] lines = said.Split('\n');
        Assert.Equal("500", lines[0]);
        Assert.Equal(["13", "one", "t", "2 0 0", "one", "t", "one", "t", "deep", "deep", "Directory not empty", "307200", "700", "File exists", "1", "mapped", "1", "r r2 s "], lines[3..]);
        Assert.Equal(["r", "r2", "s"], Directory.GetFileSystemEntries(_folder.Path).Select(e => Path.GetFileName(e)).Order(StringComparer.Ordinal));
    }

    [GuestFact]
    public async Task WhatTheHostChangesTheGuestSeesWithinASecond()
    {
        File.WriteAllText(Host("note"), "first");
        using VirtualMachine machine = await BootAsync("translator", 1, withoutPci: false, new ShareDevice("src", _folder.Path));
        Assert.Equal("first", await AskAsync(machine, "cat /mnt/src/note"));
        File.WriteAllText(Host("note"), "other"); // as long as it was
        Assert.Equal("other", await AskAsync(machine, "cat /mnt/src/note"));
        File.WriteAllText(Host("new"), "replaced");
        File.Move(Host("new"), Host("note"), overwrite: true);
        Assert.Equal("replaced", await AskAsync(machine, "sleep 1; cat /mnt/src/note"));
        File.Delete(Host("note"));
        Assert.Equal("none", await AskAsync(machine, "sleep 1; cat /mnt/src/note 2> /dev/null || printf none"));
    }

    [GuestFact]
    public async Task AReadOnlyShareAndASecondOne()
    {
        string kept = Directory.CreateDirectory(Host("kept")).FullName, open = Directory.CreateDirectory(Host("open")).FullName;
        File.WriteAllText(Path.Combine(kept, "file"), "content");
        using VirtualMachine machine = await BootAsync("translator", 1, withoutPci: false, new ShareDevice("kept", kept, ReadOnly: true), new ShareDevice("open", open));
        // However the guest mounts it: by hand, and as one that can be written.
        string said = await AskAsync(machine, """
            cat /mnt/kept/file; echo; mkdir /again; mount -t virtiofs kept /again; cd /again
            for c in 'echo x > file' 'echo x > new' 'mkdir d' 'rm file' 'mv file other' 'truncate -s 0 file' 'chmod 777 file' 'ln file l' 'ln -s file l' 'touch file'; do
              if sh -c "$c" 2> /tmp/e; then echo "done: $c"; else grep -c 'Read-only file system' /tmp/e; fi
            done; cp file /mnt/open/copy; cd /; umount /again; cat /mnt/kept/file
            """);
        Assert.Equal(["content", .. Enumerable.Repeat("1", 10), "content"], said.Split('\n'));
        Assert.Equal("content", File.ReadAllText(Path.Combine(kept, "file")));
        Assert.Equal([Path.Combine(kept, "file")], Directory.GetFileSystemEntries(kept));
        Assert.Equal("content", File.ReadAllText(Path.Combine(open, "copy")));
    }

    [GuestFact]
    public async Task CopiesAndSnapshotsGoOnWithTheFilesThatAreOpen()
    {
        File.WriteAllText(Host("kept"), "kept\n");
        File.WriteAllText(Host("gone"), "gone\n");
        using VirtualMachine machine = await BootAsync("translator", 1, withoutPci: false, new ShareDevice("src", _folder.Path));
        // A shell that holds files open and waits, in the folder, to be told what to do.
        await AskAsync(machine, """
            mkfifo /tmp/go; mkdir /mnt/src/here
            (cd /mnt/src/here; exec 3<>/mnt/src/kept 4</mnt/src/gone; read command < /tmp/go; sh -c "$command" > /tmp/out 2>&1; echo done >> /tmp/out) > /dev/null 2>&1 < /dev/null &
            sleep 1
            """);
        string path = Path.Combine(Directory.CreateTempSubdirectory("trapline-test-").FullName, "snapshot");
        try
        {
            await machine.SaveAsync(path);
            using VirtualMachine copy = (await machine.ForkAsync(1))[0];
            Assert.Contains("share 'src' of the saved machine is missing", Assert.Throws<BadInputException>(() => VirtualMachine.Restore(path)).Message);
            File.Delete(Host("gone"));
            using VirtualMachine restored = VirtualMachine.Restore(path, saved => saved with { Devices = saved.Devices with { Shares = [new ShareDevice("src", _folder.Path)] } });
            restored.Start();
            foreach ((VirtualMachine each, string name) in new[] { (machine, "first"), (copy, "copy"), (restored, "restored") })
            {
                string said = await AskAsync(each, $"echo 'cat <&3; echo {name} >&3; cat <&4; echo {name} > {name}; pwd' > /tmp/go; while ! grep -q done /tmp/out; do sleep 0.1; done; cat /tmp/out");
                Assert.StartsWith("kept\n", said, StringComparison.Ordinal);
                Assert.EndsWith("/mnt/src/here\ndone\n", said, StringComparison.Ordinal);
                // What was removed while it was open only the first one still has.
                Assert.Contains(each == machine ? "gone\n" : each == restored ? "Stale file handle" : "\n", said);
                Assert.Equal(name + "\n", File.ReadAllText(Host("here/" + name)));
            }
        }
        finally
        {
            Directory.Delete(Path.GetDirectoryName(path)!, recursive: true);
        }
    }
}
