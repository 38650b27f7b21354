using System.Buffers.Binary;
using Trapline.Core;
using Trapline.Machine.Boot;

namespace Trapline.Machine.Firmware;

/// <summary>State of the firmware's disk.</summary>
internal sealed record BiosDiskState(byte[] Image, Dictionary<ulong, byte[]> Written, byte Status);

/// <summary>INT 13h: the file that holds the boot sector is the drive. What the guest writes is kept until it ends, never in the file.</summary>
internal sealed class BiosDisk
{
    private const int SectorLength = 512;
    private const byte InvalidFunction = 0x01, SectorNotFound = 0x04, DmaBoundary = 0x09;

    private readonly ReadOnlyMemory<byte> _image;
    private readonly Dictionary<ulong, byte[]> _written = [];
    private readonly byte _drive;
    private readonly int _cylinders, _heads, _sectors;
    private byte _status;

    public BiosDisk(ReadOnlyMemory<byte> image)
    {
        _image = image;
        _drive = BootSectorLoader.DriveFor((ulong)image.Length);
        (_cylinders, _heads, _sectors) = image.Length switch
        {
            163_840 => (40, 1, 8),
            184_320 => (40, 1, 9),
            327_680 => (40, 2, 8),
            368_640 => (40, 2, 9),
            737_280 => (80, 2, 9),
            1_228_800 => (80, 2, 15),
            1_474_560 => (80, 2, 18),
            2_949_120 => (80, 2, 36),
            _ => (Math.Clamp((image.Length / SectorLength / (16 * 63)) + 1, 1, 1024), 16, 63),
        };
    }

    /// <summary>The image as it was given; then what the guest wrote, by sector.</summary>
    public BiosDiskState Save() => new(_image.ToArray(), new Dictionary<ulong, byte[]>(_written), _status);

    /// <summary>Takes the sectors that the guest wrote. The image came with the constructor.</summary>
    public void Restore(BiosDiskState state)
    {
        _written.Clear();
        foreach ((ulong sector, byte[] content) in state.Written)
            _written[sector] = content.Length == SectorLength ? content : new byte[SectorLength];
        _status = state.Status;
    }

    private ulong Total => Math.Max((ulong)_cylinders * (ulong)_heads * (ulong)_sectors, (ulong)_image.Length / SectorLength);

    private bool IsDiskette => _drive < 0x80;

    public void Serve(ref BiosFrame frame)
    {
        if (frame.Ah == 0x01)
        {
            frame.Ah = _status;
            frame.Carry = _status != 0;
            return;
        }
        byte status = frame.Dl == _drive && !_image.IsEmpty ? Function(ref frame) : InvalidFunction;
        _status = status;
        frame.Carry = status != 0;
        if (status != 0 || !KeepsAh)
            frame.Ah = status;
    }

    /// <summary>The function just served answers in AH itself.</summary>
    private bool KeepsAh { get; set; }

    private byte Function(ref BiosFrame frame)
    {
        KeepsAh = false;
        switch (frame.Ah)
        {
            case 0x00 or 0x04 or 0x0C or 0x0D or 0x10 or 0x11 or 0x47:
                return 0;
            case 0x02 or 0x03:
                return ByCylinder(ref frame, isWrite: frame.Ah == 0x03);
            case 0x08:
                int last = _cylinders - 1;
                frame.Cx = (ushort)((last << 8) | ((last >> 2) & 0xC0) | _sectors);
                frame.Dx = (ushort)(((_heads - 1) << 8) | 1);
                if (IsDiskette)
                {
                    frame.Bx = 4;
                    frame.Es = BiosImage.Segment;
                    frame.Edi = (frame.Edi & 0xFFFF_0000) | BiosImage.DisketteTable;
                }
                frame.Al = 0;
                return 0;
            case 0x15:
                KeepsAh = true;
                frame.Ah = (byte)(IsDiskette ? 1 : 3);
                if (!IsDiskette)
                    (frame.Cx, frame.Dx) = ((ushort)(Total >> 16), (ushort)Total);
                return 0;
            case 0x41 when frame.Bx == 0x55AA && !IsDiskette:
                KeepsAh = true;
                frame.Ah = 0x21; // version 1.1
                (frame.Bx, frame.Cx) = (0xAA55, 1);
                return 0;
            case 0x42 or 0x43 when !IsDiskette:
                return ByPacket(ref frame, isWrite: frame.Ah == 0x43);
            case 0x48 when !IsDiskette:
                return Parameters(ref frame);
            default:
                return InvalidFunction;
        }
    }

    private byte ByCylinder(ref BiosFrame frame, bool isWrite)
    {
        int sector = frame.Cl & 0x3F, cylinder = frame.Ch | ((frame.Cl & 0xC0) << 2);
        if (sector == 0 || sector > _sectors || frame.Dh >= _heads || cylinder >= _cylinders)
            return SectorNotFound;
        ulong first = ((((ulong)cylinder * (ulong)_heads) + frame.Dh) * (ulong)_sectors) + (ulong)sector - 1;
        return Move(frame.Memory, frame.EsBx, first, frame.Al, isWrite);
    }

    private byte ByPacket(ref BiosFrame frame, bool isWrite)
    {
        Span<byte> packet = stackalloc byte[16];
        if (!frame.Memory.TryRead(frame.DsSi, packet) || packet[0] < 16)
            return InvalidFunction;
        ushort count = BinaryPrimitives.ReadUInt16LittleEndian(packet[2..]);
        Gpa buffer = BiosFrame.Linear(BinaryPrimitives.ReadUInt16LittleEndian(packet[6..]), BinaryPrimitives.ReadUInt16LittleEndian(packet[4..]));
        return Move(frame.Memory, buffer, BinaryPrimitives.ReadUInt64LittleEndian(packet[8..]), count, isWrite);
    }

    private byte Parameters(ref BiosFrame frame)
    {
        Span<byte> result = stackalloc byte[26];
        result.Clear();
        BinaryPrimitives.WriteUInt16LittleEndian(result, 26);
        BinaryPrimitives.WriteUInt32LittleEndian(result[4..], (uint)_cylinders);
        BinaryPrimitives.WriteUInt32LittleEndian(result[8..], (uint)_heads);
        BinaryPrimitives.WriteUInt32LittleEndian(result[12..], (uint)_sectors);
        BinaryPrimitives.WriteUInt64LittleEndian(result[16..], Total);
        BinaryPrimitives.WriteUInt16LittleEndian(result[24..], SectorLength);
        return frame.Memory.TryWrite(frame.DsSi, result) ? (byte)0 : DmaBoundary;
    }

    private byte Move(IGuestMemory memory, Gpa buffer, ulong first, int count, bool isWrite)
    {
        if (first >= Total || (ulong)count > Total - first)
            return SectorNotFound;
        Span<byte> sector = stackalloc byte[SectorLength];
        for (int i = 0; i < count; i++, buffer += SectorLength)
        {
            ulong number = first + (ulong)i;
            if (isWrite)
            {
                if (!memory.TryRead(buffer, sector))
                    return DmaBoundary;
                _written[number] = sector.ToArray();
                continue;
            }
            Read(number, sector);
            if (!memory.TryWrite(buffer, sector))
                return DmaBoundary;
        }
        return 0;
    }

    private void Read(ulong number, Span<byte> sector)
    {
        if (_written.TryGetValue(number, out byte[]? changed))
        {
            changed.CopyTo(sector);
            return;
        }
        sector.Clear();
        ulong at = number * SectorLength;
        if (at < (ulong)_image.Length)
            _image.Span.Slice((int)at, Math.Min(SectorLength, _image.Length - (int)at)).CopyTo(sector);
    }
}
