namespace Trapline.Core;

/// <summary>A device reached by IN and OUT. It is given an offset from wherever the board put it and does not know its own address.</summary>
/// <remarks>Calls come from any vCPU thread, one at a time for one device only if the device locks itself: it must.</remarks>
public interface IPortDevice
{
    /// <summary>Reads <paramref name="size"/> bytes (1, 2 or 4). An access that the chip does not decode returns all ones.</summary>
    uint ReadPort(ushort offset, int size);

    /// <summary>Writes the low <paramref name="size"/> bytes (1, 2 or 4) of <paramref name="value"/>.</summary>
    void WritePort(ushort offset, int size, uint value);
}

/// <summary>A device reached through guest-physical memory. It is given an offset from wherever the board put it.</summary>
public interface IMmioDevice
{
    /// <summary>Reads <paramref name="size"/> bytes (1, 2, 4 or 8) at <paramref name="offset"/>.</summary>
    ulong ReadMmio(ulong offset, int size);

    /// <summary>Writes the low <paramref name="size"/> bytes (1, 2, 4 or 8) of <paramref name="value"/>.</summary>
    void WriteMmio(ulong offset, int size, ulong value);
}

/// <summary>A device whose state is one versioned record; restoring replaces the device's whole state by it.</summary>
public interface ISavedDevice<TState> where TState : class
{
    TState Save();
    void Restore(TState state);
}

/// <summary>Marks a saved-state record with the name and version under which it is written to a snapshot.</summary>
[AttributeUsage(AttributeTargets.Class)]
public sealed class SavedStateAttribute(string name, int version) : Attribute
{
    public string Name { get; } = name;
    public int Version { get; } = version;
}
