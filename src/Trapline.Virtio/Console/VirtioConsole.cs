using System.Buffers.Binary;
using System.Numerics;
using System.Text;
using Trapline.Core;
using Trapline.Memory;
using Trapline.Virtio.Queues;

namespace Trapline.Virtio.Console;

/// <summary>A port as the machine's owner wants it.</summary>
/// <param name="Name">By which programs in the guest find it: /dev/virtio-ports/NAME, with udev.</param>
/// <param name="IsConsole">The guest may use it as a console (hvc0) rather than as a port.</param>
public sealed record ConsolePortSpecification(string Name, ICharacterBackend Backend, bool IsConsole = false);

/// <summary>State of a console's ports: what waits in each, and what the guest said of it.</summary>
[SavedState("virtio-console", 1)]
public sealed record VirtioConsoleState(byte[][] Waiting, bool[] Ready, bool[] Open, uint[] Outbox);

/// <summary>The console device with several ports (virtio 1.2, 5.3).</summary>
public sealed class VirtioConsole : VirtioDevice, ISavedDevice<VirtioConsoleState>
{
    public const int MostPorts = 16;

    private const ulong MultiPort = 1ul << 1;
    private const int ControlReceive = 2, ControlTransmit = 3, ControlLength = 8, MostNameLength = 64;
    private const ushort QueueSize = 64;

    private readonly ConsolePort[] _ports;
    private readonly DescriptorChain _chain;

    // Messages that wait for room in the control queue: event in the low half, port in the high one. Each event of a port waits at most once.
    private readonly uint[] _outbox = new uint[MostPorts * 8];
    private int _outboxCount;

    private enum ControlEvent : ushort
    {
        DeviceReady = 0,
        PortAdd = 1,
        PortReady = 3,
        ConsolePort = 4,
        PortOpen = 6,
        PortName = 7,
    }

    public VirtioConsole(GuestMemory memory, IReadOnlyList<ConsolePortSpecification> ports)
        : base("virtio-console", VirtioTypes.Console, memory, Sizes(ports.Count))
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(ports.Count, MostPorts);
        _chain = new DescriptorChain(memory, QueueSize);
        _ports = new ConsolePort[ports.Count];
        for (int i = 0; i < _ports.Length; i++)
        {
            ulong queue = 1ul << ReceiveQueue(i);
            _ports[i] = new ConsolePort(ports[i].Name, ports[i].Backend, ports[i].IsConsole, () => Wake(queue));
            ports[i].Backend.Connect(_ports[i]);
        }
    }

    private static ushort[] Sizes(int ports) => [.. Enumerable.Repeat(QueueSize, 2 + (2 * Math.Max(ports, 1)))];

    /// <summary>Port 0's queues come before the control queues (5.3.2).</summary>
    private static int ReceiveQueue(int port) => port == 0 ? 0 : 2 + (2 * port);

    private static int PortOf(int queue) => queue < 2 ? 0 : (queue - 2) / 2;

    protected override ulong DeviceFeatures => MultiPort;

    public override void ReadConfig(int offset, Span<byte> destination)
    {
        // The size is not offered; the number of ports is.
        for (int i = 0; i < destination.Length; i++)
            destination[i] = offset + i == 4 ? (byte)_ports.Length : (byte)0;
    }

    protected override void OnReset()
    {
        _outboxCount = 0;
        foreach (ConsolePort port in _ports)
            port.GuestReady = port.GuestOpen = false;
    }

    protected override void Serve(int worker, ulong queues)
    {
        for (; queues != 0; queues &= queues - 1)
        {
            int queue = BitOperations.TrailingZeroCount(queues);
            if (queue == ControlTransmit)
                TakeControl();
            else if (queue == ControlReceive)
                SendControl();
            else if (PortOf(queue) < _ports.Length && queue % 2 == 0)
                Deliver(_ports[PortOf(queue)], Queues[queue]);
            else if (PortOf(queue) < _ports.Length)
                Output(_ports[PortOf(queue)], Queues[queue]);
        }
    }

    private void Output(ConsolePort port, VirtQueue queue)
    {
        while (queue.TryPop(_chain))
        {
            ChainCursor reader = _chain.Reader;
            for (ReadOnlySpan<byte> part = reader.NextToRead(); !part.IsEmpty; part = reader.NextToRead())
                port.Backend.Write(part);
            queue.Push(_chain, 0);
        }
    }

    /// <summary>Input waits until a program has the port open: what a driver gets before, it throws away.</summary>
    private void Deliver(ConsolePort port, VirtQueue queue)
    {
        if (Has(MultiPort) && !port.IsConsole && !port.GuestOpen)
            return;
        while (port.HasInput && queue.TryPop(_chain))
        {
            ChainCursor writer = _chain.Writer;
            uint written = 0;
            for (Span<byte> part = writer.NextToWrite(ConsolePort.Capacity); !part.IsEmpty; part = writer.NextToWrite(ConsolePort.Capacity))
            {
                int taken = port.Take(part);
                written += (uint)taken;
                if (taken < part.Length)
                    break;
            }
            queue.Push(_chain, written);
        }
    }

    private void TakeControl()
    {
        Span<byte> message = stackalloc byte[ControlLength];
        while (Queues[ControlTransmit].TryPop(_chain))
        {
            ChainCursor reader = _chain.Reader;
            if (reader.Read(message) == message.Length)
                Handle(BinaryPrimitives.ReadUInt32LittleEndian(message), (ControlEvent)BinaryPrimitives.ReadUInt16LittleEndian(message[4..]), BinaryPrimitives.ReadUInt16LittleEndian(message[6..]));
            Queues[ControlTransmit].Push(_chain, 0);
        }
        SendControl();
    }

    /// <summary>What the driver says (5.3.6.2).</summary>
    private void Handle(uint id, ControlEvent what, ushort value)
    {
        if (what == ControlEvent.DeviceReady)
        {
            for (int i = 0; value == 1 && i < _ports.Length; i++)
                Post(i, ControlEvent.PortAdd);
            return;
        }
        if (id >= (uint)_ports.Length)
            return;
        ConsolePort port = _ports[id];
        switch (what)
        {
            case ControlEvent.PortReady:
                port.GuestReady = value == 1;
                if (!port.GuestReady)
                    break;
                if (port.Name.Length > 0)
                    Post((int)id, ControlEvent.PortName);
                if (port.IsConsole)
                    Post((int)id, ControlEvent.ConsolePort);
                Post((int)id, ControlEvent.PortOpen);
                break;
            case ControlEvent.PortOpen:
                port.GuestOpen = value == 1;
                if (port.GuestOpen)
                    Deliver(port, Queues[ReceiveQueue((int)id)]);
                break;
        }
    }

    private void Post(int port, ControlEvent what)
    {
        uint message = ((uint)port << 16) | (ushort)what;
        if (_outboxCount < _outbox.Length && !_outbox.AsSpan(0, _outboxCount).Contains(message))
            _outbox[_outboxCount++] = message;
    }

    private void SendControl()
    {
        Span<byte> message = stackalloc byte[ControlLength + MostNameLength];
        int sent = 0;
        for (; sent < _outboxCount && Queues[ControlReceive].TryPop(_chain); sent++)
        {
            uint id = _outbox[sent] >> 16;
            ControlEvent what = (ControlEvent)_outbox[sent];
            BinaryPrimitives.WriteUInt32LittleEndian(message, id);
            BinaryPrimitives.WriteUInt16LittleEndian(message[4..], (ushort)what);
            BinaryPrimitives.WriteUInt16LittleEndian(message[6..], 1);
            int length = ControlLength;
            if (what == ControlEvent.PortName)
                length += Encoding.UTF8.TryGetBytes(_ports[id].Name, message[ControlLength..], out int name) ? name : 0;
            ChainCursor writer = _chain.Writer;
            Queues[ControlReceive].Push(_chain, (uint)writer.Write(message[..length]));
        }
        _outboxCount -= sent;
        Array.Copy(_outbox, sent, _outbox, 0, _outboxCount);
    }

    VirtioConsoleState ISavedDevice<VirtioConsoleState>.Save() => new(
        [.. _ports.Select(p => p.Save())], [.. _ports.Select(p => p.GuestReady)], [.. _ports.Select(p => p.GuestOpen)], _outbox[.._outboxCount]);

    void ISavedDevice<VirtioConsoleState>.Restore(VirtioConsoleState state)
    {
        if (state.Waiting.Length != _ports.Length || state.Ready.Length != _ports.Length || state.Open.Length != _ports.Length || state.Outbox.Length > _outbox.Length)
            throw new ArgumentException("another number of ports", nameof(state));
        for (int i = 0; i < _ports.Length; i++)
        {
            _ports[i].Restore(state.Waiting[i]);
            (_ports[i].GuestReady, _ports[i].GuestOpen) = (state.Ready[i], state.Open[i]);
        }
        _outboxCount = 0;
        foreach (uint message in state.Outbox.Where(m => m >> 16 < (uint)_ports.Length))
            _outbox[_outboxCount++] = message;
    }
}
