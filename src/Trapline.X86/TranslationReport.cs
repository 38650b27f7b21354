namespace Trapline.X86;

/// <summary>One block that a binary translator made, for people who want to see it.</summary>
/// <param name="Mode">Whose code it is.</param>
/// <param name="Flavour">How it was made.</param>
/// <param name="GuestBytes">Length of the guest's code, from <paramref name="Rip"/>.</param>
/// <param name="HostAddress">Where the host code is executed.</param>
/// <param name="Listing">Makes the guest's instructions beside the host's. Only valid during the call that hands it over.</param>
public sealed record TranslationReport(
    ulong Rip, string Mode, string Flavour, int Instructions, int GuestBytes, nint HostAddress, int HostBytes, Func<string> Listing);
