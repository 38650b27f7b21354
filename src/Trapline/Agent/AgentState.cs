using System.Text.Json.Serialization;

namespace Trapline.Agent;

/// <summary>The host's half of the agent's protocol at one moment: what a new host end must know to go on.</summary>
/// <param name="Version">Of this record; 2.</param>
/// <param name="IsUp">The agent has said hello.</param>
/// <param name="Begun">Bytes from the guest of a frame that has not come whole yet.</param>
/// <param name="Rest">What is left of a frame to the guest that is partly sent.</param>
/// <param name="Queue">Frames to the guest.</param>
/// <param name="Unacknowledged">Bytes to the guest that it has not acknowledged.</param>
/// <param name="Running">The programs that run.</param>
internal sealed record AgentState(int Version, bool IsUp, byte[] Begun, byte[] Rest, byte[][] Queue, int Unacknowledged, OrphanState[] Running);

/// <summary>A running program's number and streams: bytes of output that the guest waits to hear of, and whether its input has ended.</summary>
internal sealed record OrphanState(byte Number, uint StdoutUnacknowledged, uint StderrUnacknowledged, bool StdinEnded);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(AgentState))]
internal sealed partial class AgentJson : JsonSerializerContext;
