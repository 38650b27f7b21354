using System.Globalization;
using Trapline.Core;

namespace Trapline.Machine;

/// <summary>A device at a range of guest-physical space. It keeps its counters when it moves.</summary>
internal sealed class MmioBinding(string name, IMmioDevice device, ulong start, ulong length, ExitCounters counters)
{
    public string Name => name;
    public IMmioDevice Device => device;
    public ulong Start => start;
    public ulong Length => length;

    /// <summary>Cell 0 reads, cell 1 writes.</summary>
    public ExitCounters Counters => counters;

    public MmioBinding At(ulong moved) => new(name, device, moved, length, counters);
}

/// <summary>Guest-physical space outside RAM: sorted, disjoint ranges of devices. Nobody there means open bus, all ones.</summary>
/// <remarks>Reading takes no lock: the table is immutable and replaced whole. An access that leaves its device's range is taken apart into bytes.</remarks>
internal sealed class MmioBus(int vcpus)
{
    private readonly Lock _changing = new();
    private readonly ExitCounters _open = new(vcpus, 2);
    private volatile MmioBinding[] _sorted = [];

    /// <exception cref="ArgumentException">Another device is there.</exception>
    public MmioBinding Add(string name, IMmioDevice device, ulong start, ulong length) =>
        TryAdd(name, device, start, length) ?? throw new ArgumentException($"{name} at 0x{start:x} is empty or overlaps another device");

    /// <summary>Adds a device; null, and nothing changed, if another one is there or the range wraps.</summary>
    public MmioBinding? TryAdd(string name, IMmioDevice device, ulong start, ulong length)
    {
        MmioBinding binding = new(name, device, start, length, new ExitCounters(vcpus, 2));
        lock (_changing)
        {
            if (length == 0 || start + length - 1 < start || _sorted.Any(b => Overlap(b, binding)))
                return null;
            _sorted = Inserted(_sorted, binding);
        }
        return binding;
    }

    /// <summary>Moves a device. False, and nothing changed, if another one is there.</summary>
    public bool TryMove(ref MmioBinding binding, ulong start)
    {
        lock (_changing)
        {
            MmioBinding old = binding;
            MmioBinding[] others = [.. _sorted.Where(b => b != old)];
            MmioBinding moved = old.At(start);
            if (others.Any(b => Overlap(b, moved)))
                return false;
            _sorted = Inserted(others, moved);
            binding = moved;
            return true;
        }
    }

    public void Remove(MmioBinding binding)
    {
        lock (_changing)
            _sorted = [.. _sorted.Where(b => b != binding)];
    }

    /// <summary>Finds who answers; null for open bus.</summary>
    public MmioBinding? Find(ulong address)
    {
        MmioBinding[] sorted = _sorted;
        int low = 0, high = sorted.Length - 1;
        while (low <= high)
        {
            int middle = (low + high) / 2;
            MmioBinding binding = sorted[middle];
            if (address < binding.Start)
                high = middle - 1;
            else if (address - binding.Start >= binding.Length)
                low = middle + 1;
            else
                return binding;
        }
        return null;
    }

    public ulong Read(int vcpu, ulong address, int size, out ExitCounters counters)
    {
        MmioBinding? binding = Find(address);
        counters = binding?.Counters ?? _open;
        counters.Count(vcpu, 0);
        if (binding is not null && address - binding.Start + (ulong)size <= binding.Length)
            return binding.Device.ReadMmio(address - binding.Start, size);
        ulong value = 0;
        for (int i = 0; i < size; i++)
        {
            ulong at = address + (ulong)i;
            MmioBinding? part = Find(at);
            value |= (part is null ? 0xFF : part.Device.ReadMmio(at - part.Start, 1) & 0xFF) << (i * 8);
        }
        return value;
    }

    public void Write(int vcpu, ulong address, int size, ulong value, out ExitCounters counters)
    {
        MmioBinding? binding = Find(address);
        counters = binding?.Counters ?? _open;
        counters.Count(vcpu, 1);
        if (binding is not null && address - binding.Start + (ulong)size <= binding.Length)
        {
            binding.Device.WriteMmio(address - binding.Start, size, value);
            return;
        }
        for (int i = 0; i < size; i++)
        {
            ulong at = address + (ulong)i;
            if (Find(at) is { } part)
                part.Device.WriteMmio(at - part.Start, 1, (value >> (i * 8)) & 0xFF);
        }
    }

    public void Report(List<ExitStatistics> list)
    {
        _open.Report(list, ExitKind.MmioRead, 0, "open bus");
        _open.Report(list, ExitKind.MmioWrite, 1, "open bus");
        foreach (MmioBinding binding in _sorted)
        {
            string target = string.Create(CultureInfo.InvariantCulture, $"{binding.Name} 0x{binding.Start:x}");
            binding.Counters.Report(list, ExitKind.MmioRead, 0, target);
            binding.Counters.Report(list, ExitKind.MmioWrite, 1, target);
        }
    }

    private static MmioBinding[] Inserted(MmioBinding[] sorted, MmioBinding binding) => [.. sorted.Append(binding).OrderBy(b => b.Start)];

    private static bool Overlap(MmioBinding a, MmioBinding b) =>
        a.Start < b.Start ? b.Start - a.Start < a.Length : a.Start - b.Start < b.Length;
}
