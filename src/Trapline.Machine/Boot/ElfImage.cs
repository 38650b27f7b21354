using System.Buffers.Binary;

namespace Trapline.Machine.Boot;

/// <summary>A loadable part of an ELF file.</summary>
internal readonly record struct ElfSegment(ulong Offset, ulong FileLength, ulong PhysicalAddress, ulong MemoryLength)
{
    public ulong End => PhysicalAddress + MemoryLength;
}

/// <summary>An x86 ELF executable's program headers (System V ABI, chapters 4 and 5), checked against the file.</summary>
internal sealed class ElfImage
{
    private const uint Magic = 0x464C_457F;
    private const int MaximumHeaders = 256;
    private const uint TypeLoad = 1, TypeNote = 4;

    private readonly BinaryView _file;
    private readonly List<ElfSegment> _notes = [];
    private readonly List<ElfSegment> _segments = [];

    private ElfImage(BinaryView file)
    {
        _file = file;
        Is64Bit = file.U8(4) switch
        {
            1 => false,
            2 => true,
            _ => throw file.Bad("is an ELF file of an unknown class: the file is corrupt"),
        };
        if (file.U8(5) != 1)
            throw file.Bad("is a big-endian ELF file: it is not for x86");
        ushort type = file.U16(16), machine = file.U16(18);
        if (machine is not (3 or 62))
            throw file.Bad($"is an ELF file for another processor (machine {machine}): build it for x86");
        if (type is not (2 or 3))
            throw file.Bad($"is an ELF file but not an executable (type {type}): give a linked kernel");
        Entry = Is64Bit ? file.U64(24) : file.U32(24);
        ReadHeaders();
    }

    public bool Is64Bit { get; }

    public ulong Entry { get; }

    public IReadOnlyList<ElfSegment> Segments => _segments;

    public ulong Lowest => _segments.Min(s => s.PhysicalAddress);

    public ulong Highest => _segments.Max(s => s.End);

    /// <summary>Where the file ends by its own account: behind its segments and section headers. What follows is not its own.</summary>
    public ulong FileEnd { get; private set; }

    public static bool Recognizes(BinaryView file) => file.Has(0, 52) && file.U32(0) == Magic;

    public static ElfImage Parse(BinaryView file) => new(file);

    /// <summary>Loads every segment; memory beyond the file's part is zero already.</summary>
    public void Load(BootTarget target)
    {
        string what = $"kernel '{_file.File.Name}'";
        foreach (ElfSegment segment in _segments)
            target.Require(segment.PhysicalAddress, segment.MemoryLength, what);
        foreach (ElfSegment segment in _segments)
            target.LoadIntoZeros(segment.PhysicalAddress, _file.Slice(segment.Offset, segment.FileLength, "segment"), what);
    }

    /// <summary>Finds a note's descriptor by owner and type.</summary>
    public bool TryGetNote(ReadOnlySpan<byte> owner, uint type, out ReadOnlyMemory<byte> descriptor)
    {
        foreach (ElfSegment note in _notes)
        {
            ReadOnlySpan<byte> bytes = _file.Slice(note.Offset, note.FileLength, "note segment");
            int at = 0;
            while (bytes.Length - at >= 12)
            {
                uint nameLength = BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);
                uint descriptorLength = BinaryPrimitives.ReadUInt32LittleEndian(bytes[(at + 4)..]);
                uint noteType = BinaryPrimitives.ReadUInt32LittleEndian(bytes[(at + 8)..]);
                ulong descriptorAt = (ulong)at + 12 + Padded(nameLength);
                ulong next = descriptorAt + Padded(descriptorLength);
                if (descriptorAt + descriptorLength > (ulong)bytes.Length)
                    break;
                if (noteType == type && nameLength == owner.Length && bytes.Slice(at + 12, owner.Length).SequenceEqual(owner))
                {
                    descriptor = _file.File.Content.Slice((int)(note.Offset + descriptorAt), (int)descriptorLength);
                    return true;
                }
                if (next >= (ulong)bytes.Length)
                    break;
                at = (int)next;
            }
        }
        descriptor = default;
        return false;
    }

    private void ReadHeaders()
    {
        ulong table = Is64Bit ? _file.U64(32) : _file.U32(28);
        ushort size = _file.U16(Is64Bit ? 54ul : 42), count = _file.U16(Is64Bit ? 56ul : 44);
        if (size < (Is64Bit ? 56 : 32))
            throw _file.Bad($"has program headers of {size} bytes: the file is corrupt");
        if (count is 0 or > MaximumHeaders)
            throw _file.Bad($"has {count} program headers: the file is corrupt or not a kernel");
        if (!_file.Has(table, (ulong)size * count))
            throw _file.Bad("is truncated or corrupt: its program headers lie beyond the end of the file");
        ulong sections = Is64Bit ? _file.U64(40) : _file.U32(32), sectionsLength = (ulong)_file.U16(Is64Bit ? 58ul : 46) * _file.U16(Is64Bit ? 60ul : 48);
        FileEnd = Math.Max(table + ((ulong)size * count), _file.Has(sections, sectionsLength) ? sections + sectionsLength : 0);
        for (uint i = 0; i < count; i++)
        {
            ulong at = table + (i * size);
            uint type = _file.U32(at);
            if (type is not (TypeLoad or TypeNote))
                continue;
            ElfSegment segment = Is64Bit
                ? new(_file.U64(at + 8), _file.U64(at + 32), _file.U64(at + 24), _file.U64(at + 40))
                : new(_file.U32(at + 4), _file.U32(at + 16), _file.U32(at + 12), _file.U32(at + 20));
            if (!_file.Has(segment.Offset, segment.FileLength))
                throw _file.Bad("is truncated or corrupt: a segment lies beyond the end of the file");
            FileEnd = Math.Max(FileEnd, segment.Offset + segment.FileLength);
            if (type == TypeNote)
            {
                _notes.Add(segment);
                continue;
            }
            if (segment.MemoryLength < segment.FileLength || segment.PhysicalAddress + segment.MemoryLength < segment.PhysicalAddress)
                throw _file.Bad("has a segment whose size makes no sense: the file is corrupt");
            if (segment.MemoryLength != 0)
                _segments.Add(segment);
        }
        if (_segments.Count == 0)
            throw _file.Bad("has nothing to load: give a linked kernel");
    }

    private static ulong Padded(uint length) => (length + 3ul) & ~3ul;
}
