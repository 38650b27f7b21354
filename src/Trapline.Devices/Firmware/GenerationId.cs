using Trapline.Core;

namespace Trapline.Devices.Firmware;

/// <summary>State of the generation identifier: where the guest was told to look. The identifier itself is in its RAM, and never used again.</summary>
/// <param name="Address">Guest-physical; 0 if nobody was told.</param>
[SavedState("generation-id", 1)]
public sealed record GenerationIdState(ulong Address);

/// <summary>The machine's generation identifier: 16 bytes in guest memory that change whenever the machine begins as a copy of another.</summary>
/// <remarks>Microsoft, "Virtual Machine Generation ID". A guest that knows it draws new random numbers and identities when it is told of a change.</remarks>
/// <param name="memory">The guest's.</param>
/// <param name="changed">Tells the guest; called after the new identifier can be read.</param>
public sealed class GenerationId(IGuestMemory memory, Action changed) : ISavedDevice<GenerationIdState>
{
    public const int Length = 16;

    private ulong _address;

    /// <summary>Firmware has told the guest of this address: the first identifier goes there.</summary>
    public void Place(ulong address, ReadOnlySpan<byte> identifier)
    {
        _address = address;
        memory.TryWrite(new Gpa(address), identifier[..Length]);
    }

    /// <summary>The machine is another one from here on. Its vCPUs stand.</summary>
    public void Renew(ReadOnlySpan<byte> identifier)
    {
        if (_address != 0 && memory.TryWrite(new Gpa(_address), identifier[..Length]))
            changed();
    }

    public GenerationIdState Save() => new(_address);

    public void Restore(GenerationIdState state) => _address = state.Address;
}
