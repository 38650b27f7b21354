using System.Globalization;
using Trapline.Core;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Machine.Boot;

/// <summary>What a boot protocol leaves behind: how the boot processor starts.</summary>
/// <param name="Protocol">Its name, for people.</param>
/// <param name="Enter">Makes the first state from the state at reset.</param>
/// <param name="Services">The protocol relies on our small real-mode firmware, <see cref="Firmware.Bios"/>.</param>
public sealed record BootPlan(string Protocol, Func<VcpuState, VcpuState> Enter, bool Services = false);

/// <summary>The machine as boot protocols see it: memory to load into, its map, and where the ACPI tables are.</summary>
public sealed class BootTarget(GuestMemory memory, MemoryLayout layout, ulong rsdp, bool longMode)
{
    private const ulong PageSize = 4096;

    public MemoryLayout Layout => layout;

    /// <summary>Address of the ACPI root pointer.</summary>
    public ulong Rsdp => rsdp;

    /// <summary>The CPU model has 64-bit mode.</summary>
    public bool LongMode => longMode;

    /// <summary>True when every byte of the range is RAM that no firmware table occupies.</summary>
    public bool IsUsable(ulong start, ulong length)
    {
        foreach (MemoryMapEntry entry in layout.Map)
        {
            if (entry.Type == MemoryMapType.Usable && start >= entry.Start && start < entry.End && length <= entry.End - start)
                return true;
        }
        return false;
    }

    /// <summary>Loads a part of a boot image.</summary>
    /// <exception cref="BadInputException">The machine has no RAM there.</exception>
    public void Load(ulong address, ReadOnlySpan<byte> bytes, string what)
    {
        if (!memory.TryLoad(new Gpa(address), bytes))
            throw NoRoom(what, address, (ulong)bytes.Length);
    }

    /// <summary>Loads a large part of a boot image where memory is zero still: pages that would stay so are left alone, and cost the host nothing.</summary>
    /// <exception cref="BadInputException">The machine has no RAM there.</exception>
    public void LoadIntoZeros(ulong address, ReadOnlySpan<byte> bytes, string what)
    {
        int start = 0;
        for (int at = 0; at < bytes.Length;)
        {
            int next = (int)Math.Min((ulong)bytes.Length, (ulong)at + PageSize - ((address + (ulong)at) & (PageSize - 1)));
            if (!bytes[at..next].ContainsAnyExcept((byte)0))
            {
                Load(address + (ulong)start, bytes[start..at], what);
                start = next;
            }
            at = next;
        }
        Load(address + (ulong)start, bytes[start..], what);
    }

    /// <summary>Checks that a range can be used before anything is loaded there.</summary>
    public void Require(ulong address, ulong length, string what)
    {
        if (!IsUsable(address, length))
            throw NoRoom(what, address, length);
    }

    /// <summary>The highest page-aligned place for a block below a limit and above what is taken.</summary>
    /// <exception cref="BadInputException">There is none.</exception>
    public ulong PlaceHigh(ulong length, ulong limit, ulong taken, string what)
    {
        ulong top = Math.Min(limit, layout.LowEnd);
        ulong floor = Math.Max(taken, MachineConstants.FirmwareAreaEnd);
        if (length > top || ((top - length) & ~0xFFFul) < floor)
            throw new BadInputException(string.Create(CultureInfo.InvariantCulture,
                $"memory of {layout.MemoryBytes >> 20} MiB is too small: {what} of {length} bytes does not fit beside the kernel; give more"));
        return (top - length) & ~0xFFFul;
    }

    private BadInputException NoRoom(string what, ulong address, ulong length)
    {
        ulong end = address + length;
        // More memory helps unless the place is taken by firmware or lies where device memory is.
        return new BadInputException(end > layout.LowEnd && end <= MachineConstants.LowMemoryLimit
            ? string.Create(CultureInfo.InvariantCulture,
                $"memory of {layout.MemoryBytes >> 20} MiB is too small: {what} needs 0x{address:x} to 0x{end:x}; give at least {((end - 1) >> 20) + 1}M")
            : string.Create(CultureInfo.InvariantCulture,
                $"{what} needs memory at 0x{address:x} to 0x{end:x}, which this machine does not have there: it cannot be booted"));
    }
}
