using System.Buffers.Binary;
using System.Text;

namespace Trapline.Machine.Acpi;

/// <summary>What firmware tables tell about a machine.</summary>
/// <param name="Serial">Which of COM1 to COM4 are present.</param>
/// <param name="VirtioMmioDevices">How many virtio devices lie in memory, from <see cref="MachineConstants.VirtioMmioAddress"/> on.</param>
internal sealed record FirmwareFacts(int Vcpus, MemoryLayout Layout, IReadOnlyList<bool> Serial, bool PanicDevice, int VirtioMmioDevices);

/// <summary>The header that all ACPI tables but three begin with (ACPI 6.5, 5.2.6).</summary>
internal static class AcpiTable
{
    private const int HeaderLength = 36;

    public static byte[] Build(string signature, byte revision, byte[] body)
    {
        byte[] table = new byte[HeaderLength + body.Length];
        Encoding.ASCII.GetBytes(signature, table.AsSpan(0));
        BinaryPrimitives.WriteUInt32LittleEndian(table.AsSpan(4), (uint)table.Length);
        table[8] = revision;
        "TRAPLN"u8.CopyTo(table.AsSpan(10));
        "TRAPLINE"u8.CopyTo(table.AsSpan(16));
        BinaryPrimitives.WriteUInt32LittleEndian(table.AsSpan(24), 1);
        "TRPL"u8.CopyTo(table.AsSpan(28));
        BinaryPrimitives.WriteUInt32LittleEndian(table.AsSpan(32), 1);
        body.CopyTo(table, HeaderLength);
        table[9] = Checksum(table);
        return table;
    }

    /// <summary>The byte that makes the sum of all bytes zero.</summary>
    public static byte Checksum(ReadOnlySpan<byte> bytes)
    {
        byte sum = 0;
        foreach (byte b in bytes)
            sum += b;
        return (byte)-sum;
    }
}
