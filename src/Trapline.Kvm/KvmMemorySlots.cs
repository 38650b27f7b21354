using Trapline.Core;
using Trapline.Kvm.Abi;
using Trapline.Memory;

namespace Trapline.Kvm;

/// <summary>KVM's view of guest-physical memory: one slot for each region, over the mapping that everybody else uses, and changed with the map (api.rst 4.35).</summary>
/// <remarks>
/// What is in no slot leaves the kernel as MMIO; so do stores to ROM. Unsafe because slots name host addresses: the mapping outlives the virtual machine,
/// whose owner disposes it first.
/// </remarks>
internal sealed unsafe class KvmMemorySlots : IMemoryObserver, IDisposable
{
    private readonly int _vm;
    private readonly GuestMemory _memory;
    private readonly Lock _lock = new();

    /// <summary>By slot number; null where the slot is free.</summary>
    private readonly List<MemoryRegion?> _slots = [];

    public KvmMemorySlots(int vm, GuestMemory memory)
    {
        (_vm, _memory) = (vm, memory);
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
                    Set(slot, old with { Length = 0 });
                    _slots[slot] = null;
                }
            foreach (MemoryRegion region in regions)
                if (!_slots.Contains(region))
                    Set(Free(), region);
        }
    }

    public void Dispose() => _memory.RemoveObserver(this);

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
            Flags = region.Kind == MemoryKind.Rom ? KvmMemoryRegion.ReadOnly : 0,
            GuestAddress = region.Start.Value,
            Length = region.Length,
            HostAddress = (ulong)(_memory.BackingBase + region.Offset),
        };
        KvmCalls.Require(_vm, KvmRequest.SetUserMemoryRegion, &argument, "KVM_SET_USER_MEMORY_REGION");
        _slots[slot] = region;
    }
}
