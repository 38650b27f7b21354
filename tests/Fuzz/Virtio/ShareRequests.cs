using System.Text;
using Trapline.Testing;

namespace Trapline.Fuzz.Virtio;

/// <summary>FUSE requests: of every operation, with nodes, handles and names some of which are there.</summary>
internal sealed class ShareRequests(RandomSource random)
{
    private static readonly string[] Names = ["a", "b", "c", "d", "e", "out", "up", "x", "..", ".", "d/a", "", "../secret"];

    // Those that make something more often: the others need nodes and handles.
    private static readonly uint[] Operations =
        [1, 1, 1, 1, 3, 4, 5, 6, 8, 9, 9, 10, 11, 12, 13, 14, 14, 15, 15, 16, 16, 17, 18, 20, 25, 26, 27, 28, 29, 30, 34, 35, 35, 35, 38, 43, 44, 44, 45, 45, 46, 22, 50, 60];

    /// <param name="queue">0 for what has no reply.</param>
    /// <param name="readable">Adds bytes of the request.</param>
    /// <param name="data">Adds so many bytes of whatever lies there.</param>
    /// <param name="reply">Adds room.</param>
    public void Make(int queue, Action<RandomSource, byte[]> readable, Action<int> data, Action<int> reply)
    {
        uint operation = queue == 0 ? random.OneIn(3) ? 42u : random.OneIn(3) ? 36u : 2u : Operations[random.Below(Operations.Length)];
        // DESTROY forgets all that was found.
        if (operation is 26 or 38 && !random.OneIn(16))
            operation = 1;
        int length = operation == 16 ? random.Below(5000) : 0;
        byte[] arguments = Arguments(operation, length);
        byte[] head = [.. U32((uint)(40 + arguments.Length + length)), .. U32(operation), .. U64(random.Next()), .. U64(Node()), .. new byte[16]];
        readable(random, [.. head, .. arguments]);
        if (length > 0)
            data(length);
        if (queue != 0)
            reply(16 + (operation is 15 or 28 or 44 ? random.Below(9000) : random.OneIn(16) ? random.Below(150) : 150));
    }

    private byte[] Arguments(uint operation, int length) => operation switch
    {
        1 or 10 or 11 => Name(),
        2 => U64((ulong)random.Below(3)),
        3 => [.. U32((uint)random.Below(2)), .. U32(0), .. U64(Handle())],
        // Owners, lengths up to where a file is only holes, times.
        4 => [.. U32((uint)random.Below(0x400)), .. U32(0), .. U64(Handle()), .. U64((ulong)random.Below(1 << 20)), .. new byte[32], .. U32(1), .. U32(2), .. U32(3), .. U32((uint)random.Below(0x1000)), .. new byte[16]],
        6 => [.. Name(), .. Name()],
        8 => [.. U32((random.OneIn(4) ? (uint)random.Below(16) << 12 : 0x8000) | 0x1A4), .. U32(0x103), .. U64(0), .. Name()],
        9 => [.. U32((uint)random.Below(0x1000) | 0x1C0), .. U32(0), .. Name()],
        12 => [.. U64(Node()), .. Name(), .. Name()],
        13 => [.. U64(Node()), .. Name()],
        14 or 27 => [.. U32((uint)random.Below(4) | (random.OneIn(4) ? 0x200u : 0)), .. U32(0)],
        15 or 28 or 44 => [.. U64(Handle()), .. U64(random.OneIn(8) ? random.Integer() : 0), .. U32((uint)random.Below(9000)), .. new byte[20]],
        16 => [.. U64(Handle()), .. U64(random.OneIn(8) ? random.Integer() : (ulong)random.Below(1 << 16)), .. U32((uint)length), .. U32((uint)random.Below(2)), .. U64(0), .. U32(random.OneIn(2) ? 0x400u : 0), .. U32(0)],
        26 => [.. U32(7), .. U32(31), .. U32(1 << 17), .. U32(uint.MaxValue)],
        34 => [.. U32((uint)random.Below(9)), .. U32(0)],
        35 => [.. U32((uint)random.Below(4) | 0x40 | (random.OneIn(4) ? 0x200u : 0)), .. U32(0x81A4), .. U64(0), .. Name()],
        42 => [.. U32((uint)random.Below(4)), .. U32(0), .. U64(Node()), .. U64(1), .. U64(Node()), .. U64(2)],
        // Only holes: a guest may fill the host's disk, a fuzzer better not.
        43 => [.. U64(Handle()), .. U64((ulong)random.Below(1 << 16)), .. U64((ulong)random.Below(1 << 16)), .. U32(3), .. U32(0)],
        45 => [.. U64(Node()), .. U32((uint)random.Below(5)), .. U32(0), .. Name(), .. Name()],
        46 => [.. U64(Handle()), .. U64((ulong)random.Below(1 << 16)), .. U32((uint)random.Below(6)), .. U32(0)],
        18 or 29 or 20 or 25 or 30 => [.. U64(Handle()), .. new byte[16]],
        _ => new byte[random.Below(32)],
    };

    private ulong Node() => random.OneIn(32) ? random.Integer() : random.OneIn(3) ? 1 : (ulong)random.Below(24);

    private ulong Handle() => random.OneIn(32) ? random.Integer() : (ulong)random.Below(24);

    private byte[] Name() => [.. Encoding.UTF8.GetBytes(Names[random.Below(random.OneIn(4) ? Names.Length : 8)]), 0];

    private static byte[] U32(uint value) => BitConverter.GetBytes(value);

    private static byte[] U64(ulong value) => BitConverter.GetBytes(value);
}
