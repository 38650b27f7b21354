using Trapline.Core;

namespace Trapline.Memory;

/// <summary>Words in guest RAM that the machine and running vCPUs change at the same time.</summary>
/// <remarks>Unsafe because such a word is changed in place: within the page that <see cref="GuestMemory.TryGetPage"/> found, since a byte crosses none.</remarks>
public static unsafe class GuestAtomics
{
    /// <summary>Replaces a byte of RAM; false if there is none at the address.</summary>
    public static bool TryExchange(this GuestMemory memory, Gpa address, byte value, out byte before)
    {
        before = 0;
        if (!memory.TryGetPage(address.Value, out ulong offset, out MemoryKind kind) || kind != MemoryKind.Ram)
            return false;
        before = Interlocked.Exchange(ref memory.BackingBase[offset + (address.Value & (GuestMemory.PageSize - 1))], value);
        memory.NoteWrite(address.Value, offset, 1);
        return true;
    }
}
