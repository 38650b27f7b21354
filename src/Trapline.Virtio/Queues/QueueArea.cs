using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Trapline.Core;
using Trapline.Memory;

namespace Trapline.Virtio.Queues;

/// <summary>One of the three areas of a virtqueue in guest memory, checked once when the queue is enabled.</summary>
/// <remarks>Numbers in it are little-endian, as this host's are. An area whose memory has gone away reads as zero and takes no writes.</remarks>
internal readonly struct QueueArea(GuestMemory memory, ulong address, int length)
{
    /// <summary>An area at an address; null unless it is RAM, aligned as the layout wants.</summary>
    public static QueueArea? Find(GuestMemory memory, ulong address, int length, int alignment) =>
        address % (ulong)alignment == 0 && memory.TryGetSpan(new Gpa(address), (ulong)length, out _) ? new QueueArea(memory, address, length) : null;

    public Span<byte> Bytes => memory.TryGetSpan(new Gpa(address), (ulong)length, out Span<byte> span) ? span : default;

    /// <summary>A word that the driver writes: what it wrote before is seen after.</summary>
    public ushort Acquire(int offset) => Bytes is { IsEmpty: false } bytes ? Volatile.Read(ref MemoryMarshal.AsRef<ushort>(bytes[offset..])) : (ushort)0;

    /// <summary>A word that the driver reads: what was written before is seen by who sees it.</summary>
    public void Release(int offset, ushort value)
    {
        if (Bytes is not { IsEmpty: false } bytes)
            return;
        Volatile.Write(ref MemoryMarshal.AsRef<ushort>(bytes[offset..]), value);
        memory.NoteWritten(new Gpa(address + (ulong)offset), sizeof(ushort));
    }

    /// <summary>Writes a structure that a later <see cref="Release"/> publishes.</summary>
    public void Put<T>(int offset, in T value) where T : unmanaged
    {
        if (Bytes is not { IsEmpty: false } bytes)
            return;
        MemoryMarshal.Write(bytes[offset..], value);
        memory.NoteWritten(new Gpa(address + (ulong)offset), (ulong)Unsafe.SizeOf<T>());
    }

    public T Get<T>(int offset) where T : unmanaged => Bytes is { IsEmpty: false } bytes ? MemoryMarshal.Read<T>(bytes[offset..]) : default;
}
