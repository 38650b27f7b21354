using System.Runtime.InteropServices;

namespace Trapline.Core;

/// <summary>A write whose only effect is to wake a thread of the device.</summary>
/// <param name="Offset">Where in the device's range: writes that begin here.</param>
/// <param name="Size">Bytes of the write; 0: any.</param>
/// <param name="Value">The one value that has the effect; null: any.</param>
/// <param name="Event">An eventfd that has the same effect; the device's.</param>
public readonly record struct Doorbell(ulong Offset, int Size, ulong? Value, SafeHandle Event);

/// <summary>A device with doorbells: whoever runs the guest may set the event instead of calling the device.</summary>
public interface IDoorbellDevice
{
    /// <summary>Asked for only if somebody wants them: they cost descriptors.</summary>
    IEnumerable<Doorbell> Doorbells { get; }
}

/// <summary>What answers doorbells before the write reaches the machine: a kernel. What it does not answer comes as any other write.</summary>
public interface IDoorbellKeeper
{
    /// <param name="isPort">The address is a port.</param>
    /// <param name="address">Of the write; the doorbell's offset is contained.</param>
    void Add(bool isPort, ulong address, in Doorbell bell);

    /// <summary>Takes away what was added. When this returns, no write is answered any more.</summary>
    void Remove(bool isPort, ulong address, in Doorbell bell);
}
