using Trapline.Core;

namespace Trapline.Devices.Pci;

/// <summary>The MSI capability, with 64-bit addresses and per-vector masking (PCI Local Bus 3.0, 6.8.1).</summary>
/// <remarks>All its state is in the function's configuration space and is saved with it. Signal from device code that does not hold
/// the function's lock, or does: the lock is re-entrant on one thread.</remarks>
public sealed class MsiCapability
{
    private readonly PciFunction _function;
    private readonly IMsiSink _sink;
    private readonly int _at;

    /// <param name="vectorsLog2">log2 of the number of vectors that the function can use, 0 to 5.</param>
    public MsiCapability(PciFunction function, IMsiSink sink, int vectorsLog2 = 0)
    {
        _function = function;
        _sink = sink;
        _at = function.AddCapability(0x05, 24);
        function.SetConfig16(_at + 2, (ushort)(0x0180 | (vectorsLog2 << 1)));
        function.SetWritable(_at + 2, 0x71);
        function.SetWritable32(_at + 4, 0xFFFF_FFFC);
        function.SetWritable32(_at + 8, 0xFFFF_FFFF);
        function.SetWritable32(_at + 12, 0xFFFF);
        function.SetWritable32(_at + 16, (uint)((1ul << (1 << vectorsLog2)) - 1));
        function.ConfigWritten += OnConfigWritten;
    }

    /// <summary>The guest uses MSI rather than the INTx pin.</summary>
    public bool Enabled => (_function.Config8(_at + 2) & 1) != 0;

    /// <summary>Sends a vector's message, or notes it as pending if it is masked; nothing if MSI is disabled.</summary>
    public void Signal(int vector)
    {
        lock (_function.CapabilityLock)
        {
            if (!Enabled)
                return;
            uint bit = 1u << vector;
            if ((_function.Config32(_at + 16) & bit) != 0)
                _function.SetConfig32(_at + 20, _function.Config32(_at + 20) | bit);
            else
                Send(vector);
        }
    }

    private void Send(int vector)
    {
        int enabledLog2 = Math.Min((_function.Config8(_at + 2) >> 4) & 7, 5);
        uint mask = (1u << enabledLog2) - 1;
        uint data = (_function.Config16(_at + 12) & ~mask) | ((uint)vector & mask);
        _sink.Send(new MsiMessage(_function.Config32(_at + 4) | ((ulong)_function.Config32(_at + 8) << 32), data));
    }

    private void OnConfigWritten(int offset, int size)
    {
        uint pending = _function.Config32(_at + 20);
        if (pending == 0 || !Enabled)
            return;
        uint ready = pending & ~_function.Config32(_at + 16);
        _function.SetConfig32(_at + 20, pending & ~ready);
        for (int vector = 0; ready != 0; vector++, ready >>= 1)
        {
            if ((ready & 1) != 0)
                Send(vector);
        }
    }
}
