using System.Globalization;
using Trapline.Core;

namespace Trapline.Machine;

/// <summary>A device at a range of ports. It keeps its counters when it moves.</summary>
internal sealed class PortBinding(string name, IPortDevice device, ushort start, int length, int vcpus)
{
    public string Name => name;
    public IPortDevice Device => device;
    public ushort Start { get; set; } = start;
    public int Length => length;

    /// <summary>A cell for reading and one for writing each port.</summary>
    public ExitCounters Counters { get; } = new(vcpus, length * 2);
}

/// <summary>The port space: which device answers each of the 65,536 ports. Nobody there means open bus, all ones.</summary>
/// <remarks>
/// Reading takes no lock: the map is an immutable table that is replaced whole. An access that fits in the range of the device at its
/// first port is one access to that device; any other is taken apart into bytes, as a bus of 8-bit chips does.
/// </remarks>
internal sealed class PortBus(int vcpus)
{
    private const int Ports = 0x1_0000;
    private const int PagePorts = 0x100;

    private readonly Lock _changing = new();
    private readonly List<PortBinding> _all = [];
    private readonly ExitCounters _open = new(vcpus, 2);
    private volatile Map _map = new([.. Enumerable.Repeat(new ushort[PagePorts], Ports / PagePorts)], [null!]);

    /// <summary>Pages of slots, since most of the space is empty and shares one; a slot is the index of its binding.</summary>
    private sealed record Map(ushort[][] Pages, PortBinding[] Bindings)
    {
        public ushort this[int port] => Pages[port / PagePorts][port % PagePorts];

        /// <summary>The same but for some slots.</summary>
        public Map With(IEnumerable<int> ports, ushort slot, PortBinding[] bindings)
        {
            ushort[][] pages = [.. Pages];
            foreach (IGrouping<int, int> page in ports.GroupBy(port => port / PagePorts))
            {
                ushort[] slots = [.. pages[page.Key]];
                foreach (int port in page)
                    slots[port % PagePorts] = slot;
                pages[page.Key] = slots;
            }
            return new Map(pages, bindings);
        }
    }

    /// <summary>Puts a device at its ports; over another device where they overlap.</summary>
    public PortBinding Add(string name, IPortDevice device, ushort start, int length)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(start + length, Ports);
        PortBinding binding = new(name, device, start, length, vcpus);
        lock (_changing)
        {
            _all.Add(binding);
            Map now = _map;
            _map = now.With(Enumerable.Range(start, length), (ushort)now.Bindings.Length, [.. now.Bindings, binding]);
        }
        return binding;
    }

    /// <summary>Takes a device away; its ports are open bus then.</summary>
    public void Remove(PortBinding binding)
    {
        lock (_changing)
        {
            Map now = _map;
            int index = Array.IndexOf(now.Bindings, binding);
            if (index > 0)
                _map = now.With(Enumerable.Range(binding.Start, binding.Length).Where(port => now[port] == index), 0, now.Bindings);
        }
    }

    /// <summary>Finds who answers; null for open bus.</summary>
    public PortBinding? Find(ushort port)
    {
        Map map = _map;
        int slot = map[port];
        return slot == 0 ? null : map.Bindings[slot];
    }

    public uint Read(int vcpu, ushort port, int size, out ExitCounters counters, out int cell)
    {
        PortBinding? binding = Find(port);
        int offset = binding is null ? 0 : port - binding.Start;
        (counters, cell) = binding is null ? (_open, 0) : (binding.Counters, offset * 2);
        counters.Count(vcpu, cell);
        if (binding is not null && offset + size <= binding.Length)
            return binding.Device.ReadPort((ushort)offset, size);
        uint value = 0;
        for (int i = 0; i < size; i++)
        {
            ushort at = (ushort)(port + i);
            PortBinding? part = Find(at);
            value |= (part is null ? 0xFF : part.Device.ReadPort((ushort)(at - part.Start), 1) & 0xFF) << (i * 8);
        }
        return value;
    }

    public void Write(int vcpu, ushort port, int size, uint value, out ExitCounters counters, out int cell)
    {
        PortBinding? binding = Find(port);
        int offset = binding is null ? 0 : port - binding.Start;
        (counters, cell) = binding is null ? (_open, 1) : (binding.Counters, (offset * 2) + 1);
        counters.Count(vcpu, cell);
        if (binding is not null && offset + size <= binding.Length)
        {
            binding.Device.WritePort((ushort)offset, size, value);
            return;
        }
        for (int i = 0; i < size; i++)
        {
            ushort at = (ushort)(port + i);
            if (Find(at) is { } part)
                part.Device.WritePort((ushort)(at - part.Start), 1, (value >> (i * 8)) & 0xFF);
        }
    }

    public void Report(List<ExitStatistics> list)
    {
        _open.Report(list, ExitKind.PortIn, 0, "open bus");
        _open.Report(list, ExitKind.PortOut, 1, "open bus");
        lock (_changing)
        {
            foreach (PortBinding binding in _all)
            {
                for (int i = 0; i < binding.Length; i++)
                {
                    string target = string.Create(CultureInfo.InvariantCulture, $"{binding.Name} 0x{binding.Start + i:x}");
                    binding.Counters.Report(list, ExitKind.PortIn, i * 2, target);
                    binding.Counters.Report(list, ExitKind.PortOut, (i * 2) + 1, target);
                }
            }
        }
    }
}
