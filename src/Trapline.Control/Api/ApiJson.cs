using System.Text.Json;
using System.Text.Json.Serialization;

namespace Trapline.Control.Api;

/// <summary>The API's records as JSON, by code made at compile time. A property that nobody knows is an error: it is a misspelt one.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    UseStringEnumConverter = true,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(MachineList))]
[JsonSerializable(typeof(MachineInfo))]
[JsonSerializable(typeof(MachineReport))]
[JsonSerializable(typeof(StopRequest))]
[JsonSerializable(typeof(EngineRequest))]
[JsonSerializable(typeof(EngineSwitched))]
[JsonSerializable(typeof(BalloonRequest))]
[JsonSerializable(typeof(BalloonReport))]
[JsonSerializable(typeof(SaveRequest))]
[JsonSerializable(typeof(MachineSaved))]
[JsonSerializable(typeof(ForkRequest))]
[JsonSerializable(typeof(MachineEnded))]
[JsonSerializable(typeof(Problem))]
public sealed partial class ApiJson : JsonSerializerContext
{
    /// <summary>For answers of servers that may be newer than we are: what we do not know is skipped.</summary>
    internal static ApiJson Tolerant => field ??= new(new JsonSerializerOptions(Default.Options) { UnmappedMemberHandling = JsonUnmappedMemberHandling.Skip });
}
