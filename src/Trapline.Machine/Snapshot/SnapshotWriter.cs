using System.Buffers.Binary;
using System.Reflection;
using System.Text.Json;
using Microsoft.Win32.SafeHandles;
using Trapline.Core;
using Trapline.Host;

namespace Trapline.Machine;

/// <summary>Writes an image into a file that takes the place of the one before only when it is whole and on the disk.</summary>
internal static class SnapshotWriter
{
    public const int ChunkBytes = 1 << 20;

    /// <summary>In an entry of the chunk table: the chunk is stored; the lower half is its checksum. Otherwise it is zero, and a hole.</summary>
    public const ulong Stored = 1ul << 32;

    private const int PageBytes = 4096;

    /// <exception cref="BadInputException">The file cannot be written; what was there is there still.</exception>
    public static void Write(MachineImage image, string path)
    {
        string part = path + ".part";
        try
        {
            // One name for all attempts: what a crash left is overwritten by the next, and two at once cannot mix.
            using (SafeFileHandle file = File.OpenHandle(part, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None))
            {
                RandomAccess.SetLength(file, 0);
                WriteContent(image, file);
                RandomAccess.FlushToDisk(file);
            }
            File.Move(part, path, overwrite: true);
            HostFolder.Flush(Path.GetDirectoryName(Path.GetFullPath(path))!);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            string reason = e is DirectoryNotFoundException ? "its directory does not exist"
                : Directory.Exists(path) ? "it is a directory" : e is UnauthorizedAccessException ? "permission denied" : e.Message.TrimEnd('.').ReplaceLineEndings(" ");
            throw new BadInputException($"the snapshot '{path}' cannot be written: {reason}");
        }
    }

    private static void WriteContent(MachineImage image, SafeFileHandle file)
    {
        ulong ramOffset = SnapshotHeader.Size, ramLength = image.Memory.Length;
        RandomAccess.SetLength(file, (long)(ramOffset + ramLength));
        byte[] chunks = WriteMemory(image, file, ramOffset);
        ulong at = ramOffset + ramLength;
        SnapshotSection chunkTable = Append(file, ref at, chunks);
        byte[] records = JsonSerializer.SerializeToUtf8Bytes([.. image.Board.Parts.Select(SavedStates.Store)], SnapshotJson.Default.StoredPartArray);
        SnapshotSection recordTable = Append(file, ref at, records);
        byte[] manifest = JsonSerializer.SerializeToUtf8Bytes(Describe(image, ramOffset, chunkTable, recordTable), SnapshotJson.Default.SnapshotManifest);
        SnapshotHeader header = new(Append(file, ref at, manifest));
        RandomAccess.Write(file, header.Encode(), 0);
    }

    /// <summary>Copies what is stored and not zero, and returns the chunk table.</summary>
    private static byte[] WriteMemory(MachineImage image, SafeFileHandle file, ulong ramOffset)
    {
        ulong length = image.Memory.Length;
        byte[] table = new byte[((length + ChunkBytes - 1) / ChunkBytes) * sizeof(ulong)];
        byte[] buffer = new byte[ChunkBytes];
        foreach (ulong chunk in SnapshotMemory.StoredChunks(image.Memory.StoredRanges))
        {
            ulong start = chunk * ChunkBytes;
            Span<byte> content = buffer.AsSpan(0, (int)Math.Min(ChunkBytes, length - start));
            image.Memory.Read(start, content);
            if (!content.ContainsAnyExcept((byte)0))
                continue;
            for (int page = 0; page < content.Length;)
            {
                int end = page;
                while (end < content.Length && content.Slice(end, PageBytes).ContainsAnyExcept((byte)0))
                    end += PageBytes;
                if (end > page)
                    RandomAccess.Write(file, content[page..end], (long)(ramOffset + start) + page);
                page = end + PageBytes;
            }
            BinaryPrimitives.WriteUInt64LittleEndian(table.AsSpan((int)chunk * sizeof(ulong)), Stored | Crc32C.Compute(content));
        }
        return table;
    }

    private static SnapshotSection Append(SafeFileHandle file, ref ulong at, byte[] content)
    {
        RandomAccess.Write(file, content, (long)at);
        SnapshotSection section = new(at, (ulong)content.Length, Crc32C.Compute(content));
        at += section.Length;
        return section;
    }

    private static SnapshotManifest Describe(MachineImage image, ulong ramOffset, SnapshotSection chunks, SnapshotSection records)
    {
        MachineSpecification s = image.Specification;
        string version = typeof(SnapshotWriter).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion.Split('+')[0];
        return new SnapshotManifest(
            version, DateTime.UtcNow, MachineConstants.Version,
            new SavedCpu(s.Cpu.Count, s.Cpu.Model, [.. s.Cpu.Changes], [.. image.Model.Features.Select(f => f.ToString())], image.Model.TscFrequency),
            s.MemoryBytes, image.Board.RomBytes, image.Board.GuestTime, image.Board.BootProtocol, s.Cpu.Engine,
            [.. s.Consoles.Serial.Select(port => port is not null)], s.Consoles.DebugConsole is not null,
            new SavedDevices([.. s.Devices.Disks.Select(d => new SavedDisk(d.Name, d.Serial, d.Backend.Length, d.Backend.IsReadOnly))], s.Devices.Entropy, s.Devices.Balloon,
                [.. s.Consoles.Ports.Select(p => new SavedPort(p.Name, p.IsConsole))], s.Devices.Socket?.Cid,
                [.. s.Devices.Networks.Select(n => new SavedNetwork(n.Name, n.Address.ToString()))],
                [.. s.Devices.Shares.Select(d => new SavedShare(d.Tag, d.ReadOnly))], s.Devices.WithoutPci),
            s.Test.DebugExit, s.Test.TestDevice, s.End.PanicDevice, s.End.NoReboot,
            ramOffset, image.Memory.Length, ChunkBytes, chunks, records);
    }
}
