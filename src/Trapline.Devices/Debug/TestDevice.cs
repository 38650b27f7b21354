using Trapline.Core;

namespace Trapline.Devices.Debug;

/// <summary>State of the test device.</summary>
[SavedState("test-device", 1)]
public sealed record TestDeviceState(uint Latch, byte[] Memory);

/// <summary>What kvm-unit-tests' x86 suites expect of QEMU's pc-testdev: a port latch, a page-flush port, interrupt lines and a page of
/// device memory.</summary>
public sealed class TestDevice : ISavedDevice<TestDeviceState>
{
    private readonly Lock _lock = new();
    private readonly byte[] _memory = new byte[0x1_0000];
    private uint _latch;

    /// <param name="lines">Interrupt lines set by a write to the port of the same number.</param>
    /// <param name="flushPage">Called with a guest-physical address whose cached translations are to be dropped; may do nothing.</param>
    public TestDevice(IReadOnlyList<InterruptLine> lines, Action<Gpa>? flushPage = null)
    {
        LatchPorts = new Latch(this);
        FlushPorts = new Flush(flushPage);
        LinePorts = new Lines([.. lines]);
        Memory = new Page(this);
    }

    /// <summary>Four ports (0xE0): four bytes that read back as written, in any size.</summary>
    public IPortDevice LatchPorts { get; }

    /// <summary>Four ports (0xE4): a dword written is the address of a page to flush.</summary>
    public IPortDevice FlushPorts { get; }

    /// <summary>24 ports (0x2000): a non-zero byte raises the interrupt line of that number, zero lowers it.</summary>
    public IPortDevice LinePorts { get; }

    /// <summary>64 KiB of memory reached as MMIO (0xFF000000).</summary>
    public IMmioDevice Memory { get; }

    public TestDeviceState Save()
    {
        lock (_lock)
            return new TestDeviceState(_latch, (byte[])_memory.Clone());
    }

    public void Restore(TestDeviceState state)
    {
        lock (_lock)
        {
            _latch = state.Latch;
            Array.Copy(state.Memory, _memory, Math.Min(_memory.Length, state.Memory.Length));
        }
    }

    private sealed class Latch(TestDevice owner) : ByteWidePorts
    {
        protected override byte ReadByte(int offset)
        {
            lock (owner._lock)
                return offset > 3 ? (byte)0xFF : (byte)(owner._latch >> (offset * 8));
        }

        protected override void WriteByte(int offset, byte value)
        {
            if (offset > 3)
                return;
            lock (owner._lock)
                owner._latch = (owner._latch & ~(0xFFu << (offset * 8))) | ((uint)value << (offset * 8));
        }
    }

    private sealed class Flush(Action<Gpa>? flushPage) : IPortDevice
    {
        public uint ReadPort(ushort offset, int size) => uint.MaxValue;

        public void WritePort(ushort offset, int size, uint value)
        {
            if (offset == 0 && size == 4)
                flushPage?.Invoke(new Gpa(value & ~0xFFFu));
        }
    }

    private sealed class Lines(InterruptLine[] lines) : IPortDevice
    {
        public uint ReadPort(ushort offset, int size) => uint.MaxValue;

        public void WritePort(ushort offset, int size, uint value)
        {
            if (offset < lines.Length)
                lines[offset].Set((byte)value != 0);
        }
    }

    private sealed class Page(TestDevice owner) : IMmioDevice
    {
        public ulong ReadMmio(ulong offset, int size)
        {
            ulong value = 0;
            lock (owner._lock)
            {
                for (int i = 0; i < size; i++)
                    value |= (ulong)owner._memory[(offset + (ulong)i) & 0xFFFF] << (i * 8);
            }
            return value;
        }

        public void WriteMmio(ulong offset, int size, ulong value)
        {
            lock (owner._lock)
            {
                for (int i = 0; i < size; i++)
                    owner._memory[(offset + (ulong)i) & 0xFFFF] = (byte)(value >> (i * 8));
            }
        }
    }
}
