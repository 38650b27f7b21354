using System.Buffers.Binary;
using Trapline.Core;

namespace Trapline.Machine.Firmware;

/// <summary>State of the firmware's services; the disk's image is part of it.</summary>
[SavedState("bios", 1)]
internal sealed record BiosState(BiosConsoleState Console, BiosDiskState Disk, long WaitUntil);

/// <summary>The host half of our small firmware: the services that boot sectors and old kernels call in real mode, on the first serial port.</summary>
/// <remarks>The stub's OUT leads here, on the vCPU's thread. Whatever a guest puts into its registers, a service answers or refuses.</remarks>
internal sealed class Bios : IPortDevice, ISavedDevice<BiosState>
{
    private const ulong TickCell = 0x46C;

    private readonly Lock _lock = new();
    private readonly IGuestMemory _memory;
    private readonly PortBus _ports;
    private readonly Action _restart;
    private readonly BiosConsole _console;
    private readonly BiosDisk _disk;
    private readonly BiosSystem _system;

    public Bios(IGuestMemory memory, MemoryLayout layout, PortBus ports, IGuestClock clock, ICharacterBackend? screen, ReadOnlyMemory<byte> disk, Action restart)
    {
        (_memory, _ports, _restart) = (memory, ports, restart);
        _console = new BiosConsole(ports, screen);
        _disk = new BiosDisk(disk);
        _system = new BiosSystem(layout, ports, clock);
    }

    /// <summary>Puts vectors, stubs and the BIOS data area into memory, and starts the timer's tick, as power-on self-test leaves them.</summary>
    public void Install(Action<ulong, byte[]> load, bool serial)
    {
        load(0, BiosImage.Vectors());
        load(BiosImage.Base, BiosImage.Build());
        byte[] data = new byte[0x100];
        if (serial)
            BinaryPrimitives.WriteUInt16LittleEndian(data, 0x3F8);
        BinaryPrimitives.WriteUInt16LittleEndian(data.AsSpan(0x10), BiosSystem.Equipment);
        BinaryPrimitives.WriteUInt16LittleEndian(data.AsSpan(0x13), (ushort)(MemoryLayout.BaseMemoryEnd >> 10));
        BinaryPrimitives.WriteUInt16LittleEndian(data.AsSpan(0x1A), 0x1E);
        BinaryPrimitives.WriteUInt16LittleEndian(data.AsSpan(0x1C), 0x1E);
        data[0x49] = 3;
        data[0x4A] = 80;
        data[0x75] = 1;
        data[0x84] = 24;
        load(0x400, data);
        Out(0x21, 0xF8); // the tick, the keyboard, the cascade
        Out(0x3FA, 0x01); // so that typed characters queue
    }

    public BiosState Save()
    {
        lock (_lock)
            return new BiosState(_console.Save(), _disk.Save(), _system.WaitUntil);
    }

    public void Restore(BiosState state)
    {
        lock (_lock)
        {
            _console.Restore(state.Console);
            _disk.Restore(state.Disk);
            _system.WaitUntil = state.WaitUntil;
        }
    }

    public uint ReadPort(ushort offset, int size) => uint.MaxValue;

    public void WritePort(ushort offset, int size, uint value)
    {
        Span<byte> saved = stackalloc byte[8];
        Span<byte> registers = stackalloc byte[BiosFrame.Length];
        if (!_memory.TryRead(new Gpa(BiosImage.SavedSs), saved))
            return;
        Gpa stack = BiosFrame.Linear(BinaryPrimitives.ReadUInt16LittleEndian(saved), BinaryPrimitives.ReadUInt16LittleEndian(saved[4..]));
        if (!_memory.TryRead(stack, registers))
            return;
        BiosFrame frame = new(_memory, registers);
        bool done;
        lock (_lock)
            done = Serve(ref frame);
        _memory.TryWrite(stack, registers);
        _memory.TryWrite(new Gpa(BiosImage.Busy), [(byte)(done ? 0 : 1)]);
    }

    /// <summary>False: not yet, ask again.</summary>
    private bool Serve(ref BiosFrame frame)
    {
        switch (frame.Vector)
        {
            case 0x08:
                Tick();
                return true;
            case >= 0x09 and <= 0x0F:
                Out(0x20, 0x20);
                return true;
            case >= 0x70 and <= 0x77:
                Out(0xA0, 0x20);
                Out(0x20, 0x20);
                return true;
            case 0x10:
                _console.Video(ref frame);
                return true;
            case 0x13:
                _disk.Serve(ref frame);
                return true;
            case 0x14:
                _console.Serial(ref frame);
                return true;
            case 0x16:
                return _console.Keyboard(ref frame);
            case 0x11 or 0x12 or 0x1A:
                _system.Serve(ref frame);
                return true;
            case 0x15:
                return _system.Extended(ref frame);
            case 0x17:
                frame.Ah = 0x01; // printer: time-out
                return true;
            case 0x18 or 0x19:
                _restart();
                return true;
            default:
                return true;
        }
    }

    private void Tick()
    {
        Span<byte> cell = stackalloc byte[5];
        _memory.TryRead(new Gpa(TickCell), cell);
        uint ticks = BinaryPrimitives.ReadUInt32LittleEndian(cell) + 1;
        if (ticks >= 0x1800B0) // a day
            (ticks, cell[4]) = (0, 1);
        BinaryPrimitives.WriteUInt32LittleEndian(cell, ticks);
        _memory.TryWrite(new Gpa(TickCell), cell);
        _console.Collect();
        Out(0x20, 0x20);
    }

    private void Out(ushort port, byte value) => _ports.Write(0, port, 1, value, out _, out _);
}
