using System.Text.Json;
using System.Text.Json.Serialization;
using Trapline.Core;
using Trapline.Devices.Debug;
using Trapline.Devices.Firmware;
using Trapline.Devices.InterruptControllers;
using Trapline.Devices.Pci;
using Trapline.Devices.Ps2;
using Trapline.Devices.Serial;
using Trapline.Devices.Timers;
using Trapline.Machine.Firmware;
using Trapline.Virtio;
using Trapline.Virtio.Balloon;
using Trapline.Virtio.Console;
using Trapline.Virtio.FileSystem;
using Trapline.Virtio.Network;
using Trapline.Virtio.Transport;
using Trapline.Virtio.Vsock;
using Trapline.X86;

namespace Trapline.Machine;

/// <summary>How the records of a snapshot are written: JSON by generated code, strict when read.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(SnapshotManifest))]
[JsonSerializable(typeof(StoredPart[]))]
[JsonSerializable(typeof(AcpiPmState))]
[JsonSerializable(typeof(BackendState))]
[JsonSerializable(typeof(BiosState))]
[JsonSerializable(typeof(FwCfgState))]
[JsonSerializable(typeof(GenerationIdState))]
[JsonSerializable(typeof(HpetState))]
[JsonSerializable(typeof(I8042State))]
[JsonSerializable(typeof(IoApicState))]
[JsonSerializable(typeof(LocalApicState))]
[JsonSerializable(typeof(MachineMsrsState))]
[JsonSerializable(typeof(ParavirtualState))]
[JsonSerializable(typeof(MsixState))]
[JsonSerializable(typeof(PciFunctionState))]
[JsonSerializable(typeof(PciMechanism1State))]
[JsonSerializable(typeof(PicPairState))]
[JsonSerializable(typeof(Pit8254State))]
[JsonSerializable(typeof(PostCodeState))]
[JsonSerializable(typeof(ResetPortState))]
[JsonSerializable(typeof(RtcCmosState))]
[JsonSerializable(typeof(Serial16550State))]
[JsonSerializable(typeof(SharedLineState))]
[JsonSerializable(typeof(TestDeviceState))]
[JsonSerializable(typeof(VcpuState))]
[JsonSerializable(typeof(VirtioBalloonState))]
[JsonSerializable(typeof(VirtioConsoleState))]
[JsonSerializable(typeof(VirtioDeviceState))]
[JsonSerializable(typeof(VirtioFileSystemState))]
[JsonSerializable(typeof(VirtioMmioState))]
[JsonSerializable(typeof(VirtioNetworkState))]
[JsonSerializable(typeof(VirtioPciState))]
[JsonSerializable(typeof(VirtioVsockState))]
internal sealed partial class SnapshotJson : JsonSerializerContext;
