using System.Buffers.Binary;
using System.Text;
using Trapline.Core;

namespace Trapline.Devices.Firmware;

/// <summary>Keys of fw_cfg items that have a fixed meaning (QEMU, docs/specs/fw_cfg).</summary>
public enum FwCfgKey : ushort
{
    Signature = 0x00,
    Id = 0x01,
    Uuid = 0x02,
    RamSize = 0x03,
    NoGraphic = 0x04,
    CpuCount = 0x05,
    KernelAddress = 0x07,
    KernelSize = 0x08,
    KernelCommandLine = 0x09,
    InitrdAddress = 0x0A,
    InitrdSize = 0x0B,
    BootMenu = 0x0E,
    MaximumCpus = 0x0F,
    FileDirectory = 0x19,
    FirstFile = 0x20,
    ArchitectureLocal = 0x8000,
}

/// <summary>State of fw_cfg: the selection. The items are the board's and are added anew.</summary>
[SavedState("fw-cfg", 1)]
public sealed record FwCfgState(ushort Key, uint Position, ulong DmaAddress);

/// <summary>QEMU's firmware configuration device: items of bytes by key, read through a data port or by DMA. Read-only for the guest.</summary>
/// <remarks>Twelve ports (0x510): selector (word) at 0, data (byte) at 1, DMA address (big-endian) at 4. Items are added before the
/// machine runs. The lock is held while guest memory is accessed.</remarks>
public sealed class FwCfg : IPortDevice, ISavedDevice<FwCfgState>
{
    private const uint DmaError = 1, DmaRead = 2, DmaSkip = 4, DmaSelect = 8, DmaWrite = 16;
    private const int NameLength = 56;

    private readonly Lock _lock = new();
    private readonly IGuestMemory _memory;
    private readonly Dictionary<ushort, byte[]> _items = [];
    private readonly List<(string Name, byte[] Data)> _files = [];
    private byte[] _current = [];
    private ushort _key;
    private uint _position;
    private ulong _dmaAddress;

    public FwCfg(IGuestMemory memory)
    {
        _memory = memory;
        Add(FwCfgKey.Signature, "QEMU"u8.ToArray());
        Add(FwCfgKey.Id, 3u); // the port interface and DMA
        WriteDirectory();
        Select((ushort)FwCfgKey.Signature);
    }

    /// <summary>Adds or replaces an item.</summary>
    public void Add(FwCfgKey key, byte[] data)
    {
        lock (_lock)
        {
            _items[(ushort)key] = data;
            Select(_key);
        }
    }

    public void Add(FwCfgKey key, ushort value) => Add(key, [(byte)value, (byte)(value >> 8)]);

    public void Add(FwCfgKey key, uint value)
    {
        byte[] data = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(data, value);
        Add(key, data);
    }

    public void Add(FwCfgKey key, ulong value)
    {
        byte[] data = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(data, value);
        Add(key, data);
    }

    /// <summary>Adds a named file; it gets the next free key and a line in the directory.</summary>
    public void AddFile(string name, byte[] data)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(name.Length, NameLength);
        _files.Add((name, data));
        Add(FwCfgKey.FirstFile + (ushort)(_files.Count - 1), data);
        WriteDirectory();
    }

    private void WriteDirectory()
    {
        byte[] directory = new byte[4 + (_files.Count * 64)];
        BinaryPrimitives.WriteUInt32BigEndian(directory, (uint)_files.Count);
        for (int i = 0; i < _files.Count; i++)
        {
            Span<byte> entry = directory.AsSpan(4 + (i * 64), 64);
            BinaryPrimitives.WriteUInt32BigEndian(entry, (uint)_files[i].Data.Length);
            BinaryPrimitives.WriteUInt16BigEndian(entry[4..], (ushort)((ushort)FwCfgKey.FirstFile + i));
            Encoding.ASCII.GetBytes(_files[i].Name, entry[8..]);
        }
        Add(FwCfgKey.FileDirectory, directory);
    }

    public uint ReadPort(ushort offset, int size)
    {
        lock (_lock)
        {
            switch (offset)
            {
                case 1:
                    uint value = 0;
                    for (int i = 0; i < size; i++)
                        value |= (uint)NextByte() << (i * 8);
                    return value;
                case 4:
                    return 0x554D_4551; // "QEMU CFG" says that DMA is there
                case 8:
                    return 0x4746_4320;
                default:
                    return uint.MaxValue;
            }
        }
    }

    public void WritePort(ushort offset, int size, uint value)
    {
        lock (_lock)
        {
            switch (offset)
            {
                case 0:
                    Select((ushort)value);
                    _position = 0;
                    break;
                case 4 when size == 4:
                    _dmaAddress = (ulong)BinaryPrimitives.ReverseEndianness(value) << 32;
                    break;
                case 8 when size == 4:
                    ulong address = _dmaAddress | BinaryPrimitives.ReverseEndianness(value);
                    _dmaAddress = 0;
                    Dma(new Gpa(address));
                    break;
            }
        }
    }

    private void Select(ushort key)
    {
        _key = key;
        // Bit 14, the old write channel, selects the same item.
        if (!_items.TryGetValue((ushort)(key & ~0x4000), out byte[]? data))
            data = [];
        _current = data;
    }

    private byte NextByte() => _position < (uint)_current.Length ? _current[_position++] : (byte)0;

    private void Dma(Gpa address)
    {
        Span<byte> access = stackalloc byte[16];
        if (!_memory.TryRead(address, access))
            return;
        uint control = BinaryPrimitives.ReadUInt32BigEndian(access);
        uint length = BinaryPrimitives.ReadUInt32BigEndian(access[4..]);
        var target = new Gpa(BinaryPrimitives.ReadUInt64BigEndian(access[8..]));
        if ((control & DmaSelect) != 0)
        {
            Select((ushort)(control >> 16));
            _position = 0;
        }
        bool done = true;
        if ((control & DmaRead) != 0)
            done = Copy(target, length);
        else if ((control & DmaWrite) != 0)
            done = false;
        else if ((control & DmaSkip) != 0)
            Skip(length);
        BinaryPrimitives.WriteUInt32BigEndian(access, done ? 0 : DmaError);
        _memory.TryWrite(address, access[..4]);
    }

    private void Skip(uint length) => _position = (uint)Math.Min((ulong)_position + length, (uint)_current.Length);

    /// <summary>Copies the rest of the item, then zeros.</summary>
    private bool Copy(Gpa target, uint length)
    {
        int present = (int)Math.Min(length, (uint)_current.Length - Math.Min(_position, (uint)_current.Length));
        if (present > 0 && !_memory.TryWrite(target, _current.AsSpan((int)_position, present)))
            return false;
        _position += (uint)present;
        Span<byte> zeros = stackalloc byte[256];
        zeros.Clear();
        for (ulong done = (uint)present; done < length; done += (uint)zeros.Length)
        {
            int count = (int)Math.Min((ulong)zeros.Length, length - done);
            if (!_memory.TryWrite(target + done, zeros[..count]))
                return false;
        }
        return true;
    }

    public FwCfgState Save()
    {
        lock (_lock)
            return new FwCfgState(_key, _position, _dmaAddress);
    }

    public void Restore(FwCfgState state)
    {
        lock (_lock)
        {
            Select(state.Key);
            (_position, _dmaAddress) = (state.Position, state.DmaAddress);
        }
    }
}
