using System.Text.Json;
using Microsoft.Win32.SafeHandles;
using Trapline.Core;
using Trapline.Host;
using Trapline.Memory;
using Trapline.Virtio.Console;
using Trapline.X86;

namespace Trapline.Machine;

/// <summary>A machine in a file (docs/snapshot-format.md).</summary>
/// <remarks>
/// Opening checks everything but RAM, which is mapped and comes in page by page as the guest touches it: <see cref="CheckMemory"/> reads it
/// all. The file must not be changed in place while it is open or a machine that began with it lives; replacing it by another is no harm.
/// </remarks>
public sealed class Snapshot : IDisposable
{
    private readonly byte[] _chunks;

    private Snapshot(string path, MachineImage image, byte[] chunks) => (Path, Image, _chunks) = (path, image, chunks);

    public string Path { get; }

    /// <summary>Disposed with the snapshot. Its specification has back ends that go nowhere, and no boot part.</summary>
    public MachineImage Image { get; }

    /// <summary>Serial ports whose back end kept state of a protocol with the guest, and which protocol.</summary>
    public IReadOnlyDictionary<int, string> Protocols => Enumerable.Range(0, ConsoleSpecification.MaximumSerialPorts)
        .Select(port => (port, state: Image.Board.Find<BackendState>(PcBoard.BackendPart(port))))
        .Where(p => p.state is not null).ToDictionary(p => p.port, p => p.state!.Protocol);

    /// <summary>Saves an image. What was at the path is there whole until the new file is whole and on the disk.</summary>
    /// <exception cref="BadInputException">The file cannot be written.</exception>
    public static void Write(MachineImage image, string path) => SnapshotWriter.Write(image, path);

    /// <exception cref="BadInputException">The file is not there, damaged, foreign or newer than this Trapline; the message is one line.</exception>
    public static Snapshot Open(string path)
    {
        SafeFileHandle? file = null;
        try
        {
            file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            Snapshot snapshot = Read(path, file);
            file = null;
            return snapshot;
        }
        catch (BadInputException e)
        {
            throw new BadInputException($"the snapshot '{path}' cannot be restored: {e.Message}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or JsonException or NotSupportedException or OverflowException)
        {
            string reason = e is FileNotFoundException or DirectoryNotFoundException ? "it does not exist"
                : Directory.Exists(path) ? "it is a directory" : e is UnauthorizedAccessException ? "permission denied" : e.Message.TrimEnd('.').ReplaceLineEndings(" ");
            throw new BadInputException($"the snapshot '{path}' cannot be restored: {reason}");
        }
        finally
        {
            file?.Dispose();
        }
    }

    /// <summary>Reads all RAM and compares it with its checksums.</summary>
    /// <returns>What is wrong, in one line; null if nothing is, or the check was cancelled.</returns>
    public string? CheckMemory(CancellationToken cancellation = default) =>
        SnapshotMemory.Check(Image.Memory, _chunks, cancellation) is { } damage ? $"the snapshot '{Path}' cannot be restored: {damage}" : null;

    public void Dispose() => Image.Dispose();

    private static Snapshot Read(string path, SafeFileHandle file)
    {
        ulong length = (ulong)RandomAccess.GetLength(file);
        byte[] page = new byte[(int)Math.Min(length, SnapshotHeader.Size)];
        FileContent.ReadExactly(file, page, 0);
        SnapshotHeader header = SnapshotHeader.Decode(page);
        SnapshotManifest manifest = JsonSerializer.Deserialize(Section(file, length, header.Manifest, "manifest"), SnapshotJson.Default.SnapshotManifest)
            ?? throw new BadInputException("it has no manifest");
        if (header.Manifest.Offset + header.Manifest.Length != length)
            throw new BadInputException("there is more in it than was saved");
        if (manifest.MachineVersion != MachineConstants.Version)
            throw new BadInputException($"its machine is of version {manifest.MachineVersion}, and this Trapline builds {MachineConstants.Version}: use the Trapline that saved it ({manifest.SavedBy})");
        if (manifest.ChunkBytes != SnapshotWriter.ChunkBytes || manifest.RamOffset % SnapshotHeader.Size != 0 || manifest.RamLength % SnapshotHeader.Size != 0
            || manifest.RamOffset > length || manifest.RamLength > length - manifest.RamOffset)
            throw new BadInputException("its memory lies outside the file");
        MemoryLayout layout = MemoryLayout.For(manifest.MemoryBytes, manifest.RomBytes);
        if (manifest.RamLength != layout.Regions.Max(r => r.Offset + r.Length))
            throw new BadInputException("its memory has another length than the machine's");
        byte[] chunks = Section(file, length, manifest.Chunks, "list of checksums");
        if ((ulong)chunks.Length != (manifest.RamLength + SnapshotWriter.ChunkBytes - 1) / SnapshotWriter.ChunkBytes * sizeof(ulong))
            throw new BadInputException("its list of checksums has another length than its memory");
        StoredPart[] records = JsonSerializer.Deserialize(Section(file, length, manifest.Records, "device records"), SnapshotJson.Default.StoredPartArray)
            ?? throw new BadInputException("it has no device records");
        MachineSpecification specification = Specification(manifest);
        CpuModel model = Model(specification, manifest.Cpu);
        BoardState board = new(manifest.GuestTime, manifest.RomBytes, manifest.BootProtocol, [.. records.Select(SavedStates.Load)]);
        return new Snapshot(path, new MachineImage(specification, model, board, new MemoryTemplate(file, manifest.RamOffset, manifest.RamLength, isAnonymous: false)), chunks);
    }

    private static byte[] Section(SafeFileHandle file, ulong fileLength, SnapshotSection section, string what)
    {
        if (section.Offset > fileLength || section.Length > fileLength - section.Offset || section.Length > (ulong)Array.MaxLength)
            throw new BadInputException($"it is cut off: its {what} should end at byte {section.Offset + section.Length}");
        byte[] content = new byte[section.Length];
        FileContent.ReadExactly(file, content, section.Offset);
        return Crc32C.Compute(content) == section.Crc32C ? content : throw new BadInputException($"its {what} is damaged");
    }

    private static MachineSpecification Specification(SnapshotManifest manifest) => new()
    {
        MemoryBytes = manifest.MemoryBytes,
        Cpu = new CpuSpecification
        {
            Count = manifest.Cpu.Count,
            Model = manifest.Cpu.Model,
            Changes = manifest.Cpu.Changes,
            Engine = Engines.Names.Contains(manifest.Engine) ? manifest.Engine : Engines.Default,
        },
        Consoles = new ConsoleSpecification
        {
            Serial = [.. manifest.SerialPorts.Select(present => present ? NullCharacterBackend.Instance : null)],
            DebugConsole = manifest.DebugConsole ? NullCharacterBackend.Instance : null,
            Ports = [.. manifest.Devices.Ports.Select(p => new ConsolePortSpecification(p.Name, NullCharacterBackend.Instance, p.IsConsole))],
        },
        Devices = new DeviceSpecification
        {
            Disks = [.. manifest.Devices.Disks.Select(d => new DiskDevice(d.Name, new AbsentDisk(d.Length, d.ReadOnly), d.Serial))],
            Entropy = manifest.Devices.Entropy,
            Balloon = manifest.Devices.Balloon,
            Socket = manifest.Devices.SocketCid is { } cid ? new SocketDevice(null, cid) : null,
            Networks = [.. manifest.Devices.Networks.Select(n => new NetworkDevice(n.Name, new AbsentNetwork(), MacAddress.Random()))],
            Shares = [.. manifest.Devices.Shares.Select(s => new ShareDevice(s.Tag, null, s.ReadOnly))],
            WithoutPci = manifest.Devices.WithoutPci,
        },
        Test = new TestSpecification { DebugExit = manifest.DebugExit, TestDevice = manifest.TestDevice },
        End = new EndSpecification { PanicDevice = manifest.PanicDevice, NoReboot = manifest.NoReboot },
    };

    private static CpuModel Model(MachineSpecification specification, SavedCpu saved)
    {
        CpuModel model = CpuModels.Resolve(specification.Cpu);
        HashSet<string> had = [.. saved.Features], has = [.. model.Features.Select(f => f.ToString())];
        if (model.TscFrequency != saved.TscHertz || !had.SetEquals(has))
            throw new BadInputException($"its CPU model is not this Trapline's '{model.Name}': they differ in {string.Join(", ", had.Except(has).Concat(has.Except(had)).DefaultIfEmpty("the frequency").Take(4))}");
        return model;
    }
}
