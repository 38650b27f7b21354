namespace Trapline.Machine;

/// <summary>A part of a snapshot file with its checksum.</summary>
/// <param name="Offset">In bytes from the file's beginning.</param>
internal sealed record SnapshotSection(ulong Offset, ulong Length, uint Crc32C);

/// <summary>The processors of a saved machine.</summary>
/// <param name="Features">All that the model had when the machine was built: another Trapline must offer the very same.</param>
internal sealed record SavedCpu(int Count, string? Model, FeatureChange[] Changes, string[] Features, ulong TscHertz);

/// <summary>A disk of a saved machine. Its content is not in the file.</summary>
/// <param name="Length">Bytes; the disk with which the machine goes on must be as long.</param>
internal sealed record SavedDisk(string Name, string Serial, long Length, bool ReadOnly);

/// <summary>A network card of a saved machine.</summary>
/// <param name="Address">The card's own; whoever goes on with the machine has another one.</param>
internal sealed record SavedNetwork(string Name, string Address);

/// <summary>A shared folder of a saved machine. Neither its content nor where it is on the host is in the file.</summary>
internal sealed record SavedShare(string Tag, bool ReadOnly);

/// <summary>The paravirtual devices of a saved machine.</summary>
/// <param name="SocketCid">Null: no socket device.</param>
internal sealed record SavedDevices(SavedDisk[] Disks, bool Entropy, bool Balloon, SavedPort[] Ports, uint? SocketCid, SavedNetwork[] Networks, SavedShare[] Shares, bool WithoutPci);

/// <summary>A port of a virtio console.</summary>
internal sealed record SavedPort(string Name, bool IsConsole);

/// <summary>What a snapshot file says of itself: docs/snapshot-format.md, field by field.</summary>
internal sealed record SnapshotManifest(
    string SavedBy, DateTime SavedAt, int MachineVersion, SavedCpu Cpu, ulong MemoryBytes, ulong RomBytes, long GuestTime, string BootProtocol, string Engine,
    bool[] SerialPorts, bool DebugConsole, SavedDevices Devices, bool DebugExit, bool TestDevice, bool PanicDevice, bool NoReboot,
    ulong RamOffset, ulong RamLength, uint ChunkBytes, SnapshotSection Chunks, SnapshotSection Records);

/// <summary>State of one part as the file has it.</summary>
/// <param name="Schema">Which record it is, with <paramref name="Version"/>.</param>
internal sealed record StoredPart(string Name, string Schema, int Version, System.Text.Json.JsonElement State);
