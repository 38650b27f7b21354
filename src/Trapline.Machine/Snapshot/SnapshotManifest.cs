namespace Trapline.Machine;

/// <summary>A part of a snapshot file with its checksum.</summary>
/// <param name="Offset">In bytes from the file's beginning.</param>
internal sealed record SnapshotSection(ulong Offset, ulong Length, uint Crc32C);

/// <summary>The processors of a saved machine.</summary>
/// <param name="Features">All that the model had when the machine was built: another Trapline must offer the very same.</param>
internal sealed record SavedCpu(int Count, string? Model, FeatureChange[] Changes, string[] Features, ulong TscHertz);

/// <summary>What a snapshot file says of itself: docs/snapshot-format.md, field by field.</summary>
internal sealed record SnapshotManifest(
    string SavedBy, DateTime SavedAt, int MachineVersion, SavedCpu Cpu, ulong MemoryBytes, ulong RomBytes, long GuestTime, string BootProtocol, string Engine,
    bool[] SerialPorts, bool DebugConsole, bool DebugExit, bool TestDevice, bool PanicDevice, bool NoReboot,
    ulong RamOffset, ulong RamLength, uint ChunkBytes, SnapshotSection Chunks, SnapshotSection Records);

/// <summary>State of one part as the file has it.</summary>
/// <param name="Schema">Which record it is, with <paramref name="Version"/>.</param>
internal sealed record StoredPart(string Name, string Schema, int Version, System.Text.Json.JsonElement State);
