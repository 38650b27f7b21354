using System.Reflection;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Trapline.Core;

namespace Trapline.Machine;

/// <summary>The records that a snapshot can hold, by the schema that each names.</summary>
internal static class SavedStates
{
    private static readonly JsonTypeInfo[] States =
    [
        SnapshotJson.Default.AcpiPmState, SnapshotJson.Default.BackendState, SnapshotJson.Default.BiosState, SnapshotJson.Default.FwCfgState, SnapshotJson.Default.GenerationIdState, SnapshotJson.Default.HpetState, SnapshotJson.Default.I8042State, SnapshotJson.Default.IoApicState,
        SnapshotJson.Default.LocalApicState, SnapshotJson.Default.MachineMsrsState, SnapshotJson.Default.ParavirtualState, SnapshotJson.Default.PciFunctionState, SnapshotJson.Default.PciMechanism1State, SnapshotJson.Default.PicPairState,
        SnapshotJson.Default.Pit8254State, SnapshotJson.Default.PostCodeState, SnapshotJson.Default.ResetPortState, SnapshotJson.Default.RtcCmosState, SnapshotJson.Default.Serial16550State, SnapshotJson.Default.SharedLineState,
        SnapshotJson.Default.TestDeviceState, SnapshotJson.Default.VcpuState,
        SnapshotJson.Default.MsixState, SnapshotJson.Default.VirtioDeviceState, SnapshotJson.Default.VirtioPciState,
        SnapshotJson.Default.VirtioBalloonState, SnapshotJson.Default.VirtioConsoleState, SnapshotJson.Default.VirtioFileSystemState, SnapshotJson.Default.VirtioMmioState, SnapshotJson.Default.VirtioNetworkState, SnapshotJson.Default.VirtioVsockState,
    ];

    private static readonly Dictionary<string, (int Version, JsonTypeInfo Type)> BySchema = States.ToDictionary(s => Schema(s.Type).Name, s => (Schema(s.Type).Version, s));

    public static StoredPart Store(SavedPart part)
    {
        SavedStateAttribute schema = Schema(part.State.GetType());
        return new StoredPart(part.Name, schema.Name, schema.Version, JsonSerializer.SerializeToElement(part.State, BySchema[schema.Name].Type));
    }

    /// <exception cref="BadInputException">This Trapline does not know the record, or it is malformed.</exception>
    public static SavedPart Load(StoredPart part)
    {
        if (!BySchema.TryGetValue(part.Schema, out (int Version, JsonTypeInfo Type) known))
            throw new BadInputException($"'{part.Name}' is a '{part.Schema}', which this Trapline does not know: use a newer one");
        if (part.Version != known.Version)
            throw new BadInputException($"'{part.Name}' is version {part.Version} of '{part.Schema}', and this Trapline knows {known.Version}: use the one that saved it");
        try
        {
            return new SavedPart(part.Name, part.State.Deserialize(known.Type) ?? throw new BadInputException($"'{part.Name}' is empty"));
        }
        catch (JsonException e)
        {
            throw new BadInputException($"'{part.Name}' is malformed: {e.Message.ReplaceLineEndings(" ")}");
        }
    }

    private static SavedStateAttribute Schema(Type type) => type.GetCustomAttribute<SavedStateAttribute>()
        ?? throw new InvalidOperationException($"{type.Name} has no schema");
}
