using System.Numerics;
using Trapline.Core;
using Trapline.Kvm.Abi;
using Trapline.Memory;

namespace Trapline.Kvm;

/// <summary>KVM's view of guest-physical memory: one slot for each region, over the mapping that everybody else uses, and changed with the map (api.rst 4.35).</summary>
/// <remarks>
/// What is in no slot leaves the kernel as MMIO; so do stores to ROM. The kernel notes which pages of RAM are written (api.rst 4.8) once somebody has asked
/// for it, since every first store to a page costs a fault then; until that day all may have been. Unsafe because slots name host addresses: the mapping outlives the virtual machine,
/// whose owner disposes it first.
/// </remarks>
internal sealed unsafe class KvmMemorySlots : IMemoryObserver, IDisposable
{
    private readonly int _vm;
    private readonly GuestMemory _memory;
    private readonly Lock _lock = new();
    private bool _isLogging;

    /// <summary>By slot number; null where the slot is free.</summary>
    private readonly List<MemoryRegion?> _slots = [];

    public KvmMemorySlots(int vm, GuestMemory memory)
    {
        (_vm, _memory, _isLogging) = (vm, memory, memory.IsLogged);
        memory.AddObserver(this);
        MapChanged();
    }

    /// <summary>Nothing to do: the kernel and the processor keep no code.</summary>
    public void CodeWritten(Gpa address, ulong length)
    {
    }

    public void MapChanged()
    {
        lock (_lock)
        {
            IReadOnlyList<MemoryRegion> regions = _memory.Regions;
            // A slot cannot be changed into another: those that are gone go first, since slots must not overlap.
            for (int slot = 0; slot < _slots.Count; slot++)
                if (_slots[slot] is { } old && !regions.Contains(old))
                {
                    MarkWritten(slot, old);
                    Set(slot, old with { Length = 0 });
                    _slots[slot] = null;
                }
            foreach (MemoryRegion region in regions)
                if (!_slots.Contains(region))
                    Set(Free(), region);
        }
    }

    public void MarkWritten()
    {
        lock (_lock)
        {
            bool begins = !_isLogging;
            _isLogging = true;
            for (int slot = 0; slot < _slots.Count; slot++)
            {
                if (_slots[slot] is not { Kind: MemoryKind.Ram } region)
                    continue;
                if (begins)
                {
                    Set(slot, region);
                    for (ulong at = 0; at < region.Length; at += GuestMemory.PageSize)
                        _memory.SetMark(region.Offset + at, PageMarks.Dirty);
                }
                else
                {
                    MarkWritten(slot, region);
                }
            }
        }
    }

    public void Dispose() => _memory.RemoveObserver(this);

    /// <summary>Marks what the kernel has noted of a slot since it was last asked.</summary>
    private void MarkWritten(int slot, MemoryRegion region)
    {
        if (!_isLogging || region.Kind != MemoryKind.Ram)
            return;
        ulong pages = region.Length >> GuestMemory.PageShift;
        ulong[] bitmap = new ulong[(pages + 63) / 64];
        fixed (ulong* start = bitmap)
        {
            KvmDirtyLog argument = new() { Slot = (uint)slot, Bitmap = start };
            KvmCalls.Require(_vm, KvmRequest.GetDirtyLog, &argument, "KVM_GET_DIRTY_LOG");
        }
        for (int word = 0; word < bitmap.Length; word++)
            for (ulong left = bitmap[word]; left != 0; left &= left - 1)
                _memory.SetMark(region.Offset + ((((ulong)word * 64) + (ulong)BitOperations.TrailingZeroCount(left)) << GuestMemory.PageShift), PageMarks.Dirty);
    }

    private int Free()
    {
        int slot = _slots.IndexOf(null);
        if (slot >= 0)
            return slot;
        _slots.Add(null);
        return _slots.Count - 1;
    }

    private void Set(int slot, MemoryRegion region)
    {
        KvmMemoryRegion argument = new()
        {
            Slot = (uint)slot,
            Flags = region.Kind == MemoryKind.Rom ? KvmMemoryRegion.ReadOnly : _isLogging ? KvmMemoryRegion.LogDirtyPages : 0,
            GuestAddress = region.Start.Value,
            Length = region.Length,
            HostAddress = (ulong)(_memory.BackingBase + region.Offset),
        };
        KvmCalls.Require(_vm, KvmRequest.SetUserMemoryRegion, &argument, "KVM_SET_USER_MEMORY_REGION");
        _slots[slot] = region;
    }
}
