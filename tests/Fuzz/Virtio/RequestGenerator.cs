using System.Buffers.Binary;
using Trapline.Core;
using Trapline.Testing;
using Buffer = Trapline.Virtio.Tests.Buffer;

namespace Trapline.Fuzz.Virtio;

/// <summary>Requests as a driver of each device type makes them, most of them with one thing wrong at most.</summary>
/// <remarks>What a device only finds deep inside a request, it finds only if the rest of the request is right.</remarks>
internal sealed class RequestGenerator(DeviceUnderTest device)
{
    public const int MostBuffers = 8;

    /// <summary>Without this, the control queue is the third (virtio 1.2, 5.1.2).</summary>
    private const ulong MultiQueue = 1ul << 22;

    private const ulong DataAt = 0x8_0000;
    private const int DataLength = 0x3_0000;

    private readonly Buffer[] _buffers = new Buffer[MostBuffers];
    private int _count;

    /// <summary>Makes a request for a queue; its content is in memory.</summary>
    public ReadOnlySpan<Buffer> Make(RandomSource random, int queue, int queues)
    {
        _count = 0;
        switch (device.Type)
        {
            case "block":
                Block(random);
                break;
            case "balloon":
                Balloon(random, queue);
                break;
            case "console":
                Console(random, queue);
                break;
            case "vsock":
                Vsock(random, queue);
                break;
            case "net":
                Network(random, queue, queues);
                break;
            case "share":
                new ShareRequests(random).Make(queue, Readable, length => Add(Place(random), length, false), length => Writable(random, length));
                break;
            default:
                Writable(random, 1 + random.Below(200));
                break;
        }
        Mutate(random);
        return _buffers.AsSpan(0, _count);
    }

    private static ulong Place(RandomSource random) => DataAt + (ulong)random.Below(DataLength - 0x1_0000);

    private void Add(ulong address, int length, bool writable)
    {
        if (_count < MostBuffers)
            _buffers[_count++] = new Buffer(address, (uint)length, writable);
    }

    private void Readable(RandomSource random, byte[] content) => Readable(random, content.AsSpan());

    private void Readable(RandomSource random, ReadOnlySpan<byte> content)
    {
        ulong at = Place(random);
        device.Memory.TryWrite(new Gpa(at), content);
        // Cut anywhere, as a driver may.
        int cut = random.OneIn(4) ? random.Below(content.Length + 1) : content.Length;
        Add(at, cut, false);
        if (cut < content.Length)
            Add(at + (ulong)cut, content.Length - cut, false);
    }

    private void Writable(RandomSource random, int length)
    {
        int cut = random.OneIn(4) ? random.Below(length + 1) : length;
        Add(Place(random), cut, true);
        if (cut < length)
            Add(Place(random), length - cut, true);
    }

    private void Block(RandomSource random)
    {
        Span<byte> head = stackalloc byte[16];
        uint[] types = [0, 0, 1, 1, 4, 8, 11, 13];
        uint type = types[random.Below(types.Length)];
        int sectors = 1 + random.Below(8);
        BinaryPrimitives.WriteUInt32LittleEndian(head, type);
        BinaryPrimitives.WriteUInt32LittleEndian(head[4..], 0);
        BinaryPrimitives.WriteUInt64LittleEndian(head[8..], random.OneIn(16) ? random.Integer() : (ulong)random.Below(2050 - sectors));
        Readable(random, head);
        if (type == 0)
            Writable(random, 512 * sectors);
        else if (type == 1)
            Add(Place(random), 512 * sectors, false);
        else if (type == 8)
            Writable(random, 20);
        else if (type is 11 or 13)
            Ranges(random);
        Add(Place(random), 1, true);
    }

    private void Ranges(RandomSource random)
    {
        Span<byte> range = stackalloc byte[16];
        for (int i = random.Below(3); i >= 0; i--)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(range, (ulong)random.Below(2048));
            BinaryPrimitives.WriteUInt32LittleEndian(range[8..], (uint)random.Below(64));
            BinaryPrimitives.WriteUInt32LittleEndian(range[12..], random.OneIn(8) ? (uint)random.Next() : (uint)random.Below(2));
            Readable(random, range);
        }
    }

    private void Balloon(RandomSource random, int queue)
    {
        if (queue == 2)
        {
            // Never the pages with the rings: a driver that gives them away gets what it asked for.
            for (int i = random.Below(3); i >= 0; i--)
                Add(0xC_0000 + (0x1000ul * (ulong)random.Below(0x20)), 0x1000 * (1 + random.Below(4)), true);
            return;
        }
        Span<byte> numbers = stackalloc byte[64];
        for (int i = 0; i < numbers.Length; i += 4)
            BinaryPrimitives.WriteUInt32LittleEndian(numbers[i..], random.OneIn(16) ? (uint)random.Integer() : 0xC0 + (uint)random.Below(0x40));
        Readable(random, numbers[..(4 * (1 + random.Below(16)))]);
    }

    private void Console(RandomSource random, int queue)
    {
        if (queue == 3)
        {
            Span<byte> message = stackalloc byte[8];
            BinaryPrimitives.WriteUInt32LittleEndian(message, (uint)random.Below(3));
            BinaryPrimitives.WriteUInt16LittleEndian(message[4..], (ushort)(random.OneIn(3) ? 0 : random.OneIn(2) ? 3 : random.Below(9)));
            BinaryPrimitives.WriteUInt16LittleEndian(message[6..], random.OneIn(8) ? (ushort)random.Next() : (ushort)1);
            Readable(random, message);
        }
        else if (queue % 2 == 0)
        {
            Writable(random, 8 + random.Below(100));
        }
        else
        {
            Add(Place(random), 1 + random.Below(300), false);
        }
    }

    private void Vsock(RandomSource random, int queue)
    {
        if (queue != 1)
        {
            Writable(random, queue == 2 ? 8 : 44 + random.Below(2000));
            return;
        }
        Span<byte> head = stackalloc byte[44];
        head.Clear();
        int length = random.OneIn(2) ? random.Below(400) : 0;
        // One way of being connected in most lives: request, data, credits, shutdown.
        ushort[] operations = [1, 1, 5, 5, 5, 5, 6, 7, 4, 3];
        ushort operation = random.OneIn(32) ? (ushort)random.Next() : length > 0 ? (ushort)5 : operations[random.Below(operations.Length)];
        BinaryPrimitives.WriteUInt64LittleEndian(head, random.OneIn(64) ? random.Integer() : 3);
        BinaryPrimitives.WriteUInt64LittleEndian(head[8..], random.OneIn(64) ? random.Integer() : 2);
        BinaryPrimitives.WriteUInt32LittleEndian(head[16..], 1000 + (uint)random.Below(4));
        BinaryPrimitives.WriteUInt32LittleEndian(head[20..], random.OneIn(16) ? 2u : 1u);
        BinaryPrimitives.WriteUInt32LittleEndian(head[24..], random.OneIn(32) ? (uint)random.Integer() : (uint)length);
        BinaryPrimitives.WriteUInt16LittleEndian(head[28..], random.OneIn(64) ? (ushort)random.Next() : (ushort)1);
        BinaryPrimitives.WriteUInt16LittleEndian(head[30..], operation);
        BinaryPrimitives.WriteUInt32LittleEndian(head[32..], (uint)random.Below(4));
        BinaryPrimitives.WriteUInt32LittleEndian(head[36..], random.OneIn(16) ? (uint)random.Integer() : 1 << 16);
        BinaryPrimitives.WriteUInt32LittleEndian(head[40..], random.OneIn(16) ? (uint)random.Integer() : 0);
        Readable(random, head);
        if (length > 0)
            Add(Place(random), length, false);
    }

    private void Network(RandomSource random, int queue, int queues)
    {
        if (queue == (device.Driver.Device.Has(MultiQueue) ? queues - 1 : 2))
        {
            Command(random);
            return;
        }
        if (queue % 2 == 0)
        {
            Writable(random, random.OneIn(2) ? 1526 : 12 + random.Below(4000));
            return;
        }
        Span<byte> header = stackalloc byte[12];
        header.Clear();
        bool isVersion6 = random.OneIn(2);
        int ip = isVersion6 ? 40 : 20, payload = random.OneIn(4) ? random.Below(9000) : random.Below(1400);
        if (random.OneIn(2))
        {
            header[0] = 1;
            header[1] = random.OneIn(2) ? (byte)0 : isVersion6 ? (byte)4 : (byte)1;
            BinaryPrimitives.WriteUInt16LittleEndian(header[2..], (ushort)random.Next());
            BinaryPrimitives.WriteUInt16LittleEndian(header[4..], random.OneIn(16) ? (ushort)random.Next() : (ushort)(100 + random.Below(1400)));
            BinaryPrimitives.WriteUInt16LittleEndian(header[6..], random.OneIn(16) ? (ushort)random.Next() : (ushort)(14 + ip));
            BinaryPrimitives.WriteUInt16LittleEndian(header[8..], random.OneIn(16) ? (ushort)random.Next() : (ushort)16);
        }
        Readable(random, random.OneIn(4) ? header[..10] : header);
        Span<byte> frame = stackalloc byte[14 + 40 + 20];
        frame.Clear();
        BinaryPrimitives.WriteUInt32BigEndian(frame[2..], random.OneIn(4) ? (uint)random.Next() : 1);
        frame[0] = random.OneIn(4) ? (byte)random.Next() : (byte)2;
        BinaryPrimitives.WriteUInt16BigEndian(frame[12..], random.OneIn(8) ? (ushort)0x8100 : isVersion6 ? (ushort)0x86DD : (ushort)0x0800);
        frame[14] = isVersion6 ? (byte)0x60 : (byte)0x45;
        frame[isVersion6 ? 20 : 23] = 6;
        BinaryPrimitives.WriteUInt32BigEndian(frame[26..], (uint)random.Below(64));
        frame[14 + ip + 12] = random.OneIn(16) ? (byte)random.Next() : (byte)0x50;
        Readable(random, frame[..(34 + ip)]);
        if (payload > 0)
            Add(Place(random), payload, false);
    }

    private void Command(RandomSource random)
    {
        (byte Class, byte Command, int Length)[] known =
            [(0, 0, 1), (0, 1, 1), (0, 2, 1), (0, 5, 1), (1, 0, 8), (1, 0, 20), (1, 1, 6), (2, 0, 2), (2, 1, 2), (3, 0, 0), (4, 0, 2), (5, 0, 8)];
        (byte group, byte command, int length) = known[random.Below(known.Length)];
        Span<byte> data = stackalloc byte[24];
        data.Clear();
        data[0] = random.OneIn(8) ? (byte)random.Next() : (byte)random.Below(3);
        data[10] = (byte)random.Below(2);
        Readable(random, [group, command]);
        if (length > 0)
            Readable(random, data[..length]);
        Add(Place(random), 1, true);
    }

    /// <summary>One thing wrong with a third of the requests, little of which breaks the whole device.</summary>
    private void Mutate(RandomSource random)
    {
        if (_count == 0 || !random.OneIn(3))
            return;
        ref Buffer one = ref _buffers[random.Below(_count)];
        switch (random.Below(120))
        {
            case 0:
                one = one with { Address = random.Integer() };
                break;
            case 1:
                one = one with { Length = (uint)random.Integer() };
                break;
            case 2:
                one = one with { Writable = !one.Writable };
                break;
            case 3:
                _count--;
                break;
            case < 24:
                one = one with { Length = (uint)random.Below(5000) };
                break;
            case < 40:
                one = one with { Length = 0 };
                break;
            case < 56:
                Add(Place(random), random.Below(2000), _buffers[_count - 1].Writable);
                break;
            default: // a byte of what it says
                device.Memory.TryWrite(new Gpa(one.Address + (ulong)random.Below((int)Math.Clamp(one.Length, 1, 64))), [(byte)random.Next()]);
                break;
        }
    }
}
