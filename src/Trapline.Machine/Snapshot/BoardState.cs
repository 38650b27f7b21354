namespace Trapline.Machine;

/// <summary>State of one part of a board.</summary>
/// <param name="Name">Which part: unique on its board.</param>
/// <param name="State">A record marked by <see cref="Core.SavedStateAttribute"/>, never changed.</param>
internal sealed record SavedPart(string Name, object State);

/// <summary>State of a board that stands: all but RAM.</summary>
/// <param name="GuestTime">Nanoseconds that the guest has lived.</param>
/// <param name="RomBytes">Length of a firmware ROM, which lies behind RAM in the backing store.</param>
/// <param name="BootProtocol">How the kernel was started, for people.</param>
internal sealed record BoardState(long GuestTime, ulong RomBytes, string BootProtocol, IReadOnlyList<SavedPart> Parts)
{
    /// <summary>The state of a part, or null.</summary>
    public TState? Find<TState>(string name) where TState : class => Parts.FirstOrDefault(p => p.Name == name)?.State as TState;
}
