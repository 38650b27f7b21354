namespace Trapline.Machine.Firmware;

/// <summary>The real-mode half of our firmware: 256 vectors, and stubs that save the registers and hand over to <see cref="Bios"/>.</summary>
/// <remarks>
/// A service that cannot answer yet (a key, a delay) sets the busy cell; the stub then halts until the next interrupt and asks again.
/// The stubs live at F000:E000; everything is data here, assembled by hand.
/// </remarks>
internal static class BiosImage
{
    public const ushort Segment = 0xF000;
    public const ulong Base = 0xF_E000;
    public const byte ServicePort = 0xBF;

    /// <summary>Cells that the stub fills: SS and ESP at the call, and the busy flag.</summary>
    public const ulong SavedSs = Base + 0x10, SavedEsp = Base + 0x14, Busy = Base + 0x18;

    /// <summary>Where a diskette's parameter table lies (INT 1Eh points at it).</summary>
    public const ushort DisketteTable = Origin + 0x20;

    private const ushort Origin = 0xE000;
    private const int CommonAt = 0x40, ReturnAt = 0x3F, StubsAt = 0x100, TickStubAt = 0xF0;
    private const int StubLength = 5;

    /// <summary>Vectors that only return: a guest installs its own.</summary>
    private static bool OnlyReturns(int vector) => vector is < 8 or (> 0x1A and < 0x70) or > 0x77;

    /// <summary>The interrupt vector table, for address 0.</summary>
    public static byte[] Vectors()
    {
        byte[] table = new byte[1024];
        for (int vector = 0; vector < 256; vector++)
        {
            int offset = OnlyReturns(vector) ? ReturnAt : vector == 8 ? TickStubAt : StubsAt + (vector * StubLength);
            Put(table, vector * 4, Origin + offset);
            Put(table, (vector * 4) + 2, Segment);
        }
        Put(table, 0x1E * 4, DisketteTable);
        return table;
    }

    /// <summary>The image, for <see cref="Base"/>; 8 KiB, ending with the reset vector.</summary>
    public static byte[] Build()
    {
        byte[] image = new byte[0x2000];
        new byte[] { 0xAF, 0x02, 0x25, 0x02, 0x12, 0x1B, 0xFF, 0x6C, 0xF6, 0x0F, 0x08 }.CopyTo(image, 0x20);
        image[ReturnAt] = 0xCF; // iret
        Common().CopyTo(image, CommonAt);
        for (int vector = 0; vector < 256; vector++)
            Stub(vector, StubsAt + (vector * StubLength)).CopyTo(image, StubsAt + (vector * StubLength));
        // The timer's tick calls INT 1Ch first.
        byte[] tick = [0xCD, 0x1C, .. Stub(8, TickStubAt + 2)];
        tick.CopyTo(image, TickStubAt);
        // F000:FFF0: INT 19h, and if that ever returns, halt.
        new byte[] { 0xCD, 0x19, 0xFA, 0xF4, 0xEB, 0xFC }.CopyTo(image, 0x1FF0);
        return image;
    }

    private static byte[] Stub(int vector, int at)
    {
        int distance = CommonAt - (at + StubLength);
        return [0x6A, (byte)vector, 0xE9, (byte)distance, (byte)(distance >> 8)]; // push vector; jmp common
    }

    private static byte[] Common()
    {
        const int ss = (int)(SavedSs - Base) + Origin, esp = (int)(SavedEsp - Base) + Origin, busy = (int)(Busy - Base) + Origin;
        return
        [
            0x1E, 0x06, 0x66, 0x60,                                     // push ds; push es; pushad
            0x2E, 0x8C, 0x16, ss & 0xFF, ss >> 8,                       // again: mov [cs:ss], ss
            0x66, 0x2E, 0x89, 0x26, esp & 0xFF, esp >> 8,               // mov [cs:esp], esp
            0xE6, ServicePort,                                          // out port, al
            0x2E, 0x80, 0x3E, busy & 0xFF, busy >> 8, 0x00,             // cmp byte [cs:busy], 0
            0x74, 0x05,                                                 // je done
            0xFB, 0xF4, 0xFA,                                           // sti; hlt; cli
            0xEB, 0xE6,                                                 // jmp again
            0x66, 0x61, 0x07, 0x1F, 0x83, 0xC4, 0x02, 0xCF,             // done: popad; pop es; pop ds; add sp, 2; iret
        ];
    }

    private static void Put(byte[] table, int at, int value) => (table[at], table[at + 1]) = ((byte)value, (byte)(value >> 8));
}
