using Trapline.Core;

namespace Trapline.Devices.Pci;

/// <summary>State of an MSI-X table and its pending bits.</summary>
[SavedState("pci-msix", 1)]
public sealed record MsixState(ulong[] Table, ulong[] Pending);

/// <summary>The MSI-X capability with table and pending bits in a memory register of its own (PCI Local Bus 3.0, 6.8.2).</summary>
/// <remarks>The function's lock guards it; messages are sent with the lock held.</remarks>
public sealed class MsixCapability : IMmioDevice, ISavedDevice<MsixState>
{
    private const ushort EnableBit = 0x8000, FunctionMaskBit = 0x4000;

    private readonly PciFunction _function;
    private readonly IMsiSink _sink;
    private readonly int _at, _vectors;
    private readonly ulong _pendingOffset;
    private readonly ulong[] _table;   // two words for each vector: address; data and control
    private readonly ulong[] _pending;

    /// <param name="bar">The memory register that the capability takes for itself.</param>
    /// <param name="vectors">1 to 2,048.</param>
    public MsixCapability(PciFunction function, IMsiSink sink, int bar, int vectors)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(vectors, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(vectors, 2048);
        _function = function;
        _sink = sink;
        _vectors = vectors;
        _table = new ulong[vectors * 2];
        _pending = new ulong[(vectors + 63) / 64];
        ulong half = Math.Max(System.Numerics.BitOperations.RoundUpToPowerOf2((ulong)vectors * 16), 2048);
        _pendingOffset = half;
        function.AddMemoryBar(bar, half * 2, this);
        _at = function.AddCapability(0x11, 12);
        function.SetConfig16(_at + 2, (ushort)(vectors - 1));
        function.SetWritable(_at + 3, 0xC0);
        function.SetConfig32(_at + 4, (uint)bar);
        function.SetConfig32(_at + 8, (uint)half | (uint)bar);
        function.ConfigWritten += (_, _) => SendReady();
        Reset();
    }

    /// <summary>The guest uses MSI-X.</summary>
    public bool Enabled => (_function.Config16(_at + 2) & EnableBit) != 0;

    /// <summary>All vectors masked, none pending.</summary>
    public void Reset()
    {
        lock (_function.CapabilityLock)
        {
            Array.Clear(_pending);
            for (int i = 0; i < _vectors; i++)
                (_table[i * 2], _table[(i * 2) + 1]) = (0, 1ul << 32);
        }
    }

    /// <summary>Sends a vector's message, or notes it as pending if it is masked; nothing if MSI-X is disabled.</summary>
    public void Signal(int vector)
    {
        if ((uint)vector >= (uint)_vectors)
            return; // a number that came from the guest
        lock (_function.CapabilityLock)
        {
            if (!Enabled)
                return;
            if (IsMasked(vector))
                _pending[vector >> 6] |= 1ul << vector;
            else
                Send(vector);
        }
    }

    private bool IsMasked(int vector) =>
        (_function.Config16(_at + 2) & FunctionMaskBit) != 0 || (_table[(vector * 2) + 1] & (1ul << 32)) != 0;

    private void Send(int vector) => _sink.Send(new MsiMessage(_table[vector * 2], (uint)_table[(vector * 2) + 1]));

    private void SendReady()
    {
        if (!Enabled || (_function.Config16(_at + 2) & FunctionMaskBit) != 0)
            return;
        for (int word = 0; word < _pending.Length; word++)
        {
            for (ulong bits = _pending[word]; bits != 0; bits &= bits - 1)
                SendIfReady((word * 64) + System.Numerics.BitOperations.TrailingZeroCount(bits));
        }
    }

    private void SendIfReady(int vector)
    {
        if (!Enabled || (_pending[vector >> 6] & (1ul << vector)) == 0 || IsMasked(vector))
            return;
        _pending[vector >> 6] &= ~(1ul << vector);
        Send(vector);
    }

    public ulong ReadMmio(ulong offset, int size)
    {
        lock (_function.CapabilityLock)
        {
            ulong word = offset >> 3;
            ulong value = 0;
            if (offset < _pendingOffset)
                value = word < (ulong)_table.Length ? _table[word] : 0;
            else if (word - (_pendingOffset >> 3) < (ulong)_pending.Length)
                value = _pending[word - (_pendingOffset >> 3)];
            return value >> ((int)(offset & 7) * 8);
        }
    }

    /// <summary>Aligned double and quad words write the table; the pending bits are read-only.</summary>
    public void WriteMmio(ulong offset, int size, ulong value)
    {
        ulong word = offset >> 3;
        if (size < 4 || (offset & (ulong)(size - 1)) != 0 || word >= (ulong)_table.Length)
            return;
        lock (_function.CapabilityLock)
        {
            int shift = (int)(offset & 4) * 8;
            ulong mask = size == 8 ? ulong.MaxValue : 0xFFFF_FFFFul << shift;
            ulong writable = (word & 1) == 0 ? ~3ul : 0x1_FFFF_FFFF;
            mask &= writable;
            _table[word] = (_table[word] & ~mask) | ((value << shift) & mask);
            SendIfReady((int)(word >> 1));
        }
    }

    public MsixState Save()
    {
        lock (_function.CapabilityLock)
            return new MsixState((ulong[])_table.Clone(), (ulong[])_pending.Clone());
    }

    public void Restore(MsixState state)
    {
        lock (_function.CapabilityLock)
        {
            Array.Copy(state.Table, _table, Math.Min(_table.Length, state.Table.Length));
            Array.Copy(state.Pending, _pending, Math.Min(_pending.Length, state.Pending.Length));
        }
    }
}
