using System.Buffers.Binary;
using Trapline.Core;

namespace Trapline.Machine.Boot;

/// <summary>Reads little-endian fields of an untrusted file. Outside its end there is nothing to read: the file is called truncated.</summary>
internal readonly struct BinaryView(BootFile file)
{
    public BootFile File => file;

    public ulong Length => (ulong)file.Content.Length;

    public byte U8(ulong offset) => Slice(offset, 1, "header")[0];

    public ushort U16(ulong offset) => BinaryPrimitives.ReadUInt16LittleEndian(Slice(offset, 2, "header"));

    public uint U32(ulong offset) => BinaryPrimitives.ReadUInt32LittleEndian(Slice(offset, 4, "header"));

    public ulong U64(ulong offset) => BinaryPrimitives.ReadUInt64LittleEndian(Slice(offset, 8, "header"));

    public bool Has(ulong offset, ulong length) => offset <= Length && length <= Length - offset;

    /// <exception cref="BadInputException">The range leaves the file.</exception>
    public ReadOnlySpan<byte> Slice(ulong offset, ulong length, string what) => Has(offset, length)
        ? file.Content.Span.Slice((int)offset, (int)length)
        : throw Bad($"is truncated or corrupt: its {what} at 0x{offset:x} ({length} bytes) lies beyond the end of the file ({Length} bytes)");

    public BadInputException Bad(string problem) => new($"kernel '{file.Name}' {problem}");
}
