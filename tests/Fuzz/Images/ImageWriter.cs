using System.Runtime.InteropServices;
using Trapline.Storage;
using Trapline.Storage.Qcow2;

namespace Trapline.Fuzz.Images;

/// <summary>The process that is killed: writes to an image without end, and says before what it does and afterwards what is flushed.</summary>
internal static class ImageWriter
{
    public const int Sector = 512;

    public static int Run(string path, int seed)
    {
        Random random = new(seed);
        using DiskImage disk = DiskImage.Open(new DiskSpecification { Path = path, Format = ImageFormat.Qcow2, Unmap = true });
        using Stream output = Console.OpenStandardOutput();
        int sectors = (int)(disk.Length / Sector), mark = seed << 12;
        Say("R");
        while (true)
        {
            int count = random.Next(1, random.Next(4) == 0 ? 300 : 20), first = random.Next(sectors - count);
            switch (random.Next(12))
            {
                case < 7:
                    byte[] data = new byte[count * Sector];
                    MemoryMarshal.Cast<byte, int>(data.AsSpan()).Fill(++mark);
                    Say($"W {first} {count} {mark}");
                    disk.Write((long)first * Sector, data);
                    break;
                case 7:
                    Say($"W {first} {count} 0");
                    disk.WriteZeroes((long)first * Sector, (long)count * Sector, mayUnmap: random.Next(2) == 0);
                    break;
                case 8:
                    Say($"D {first} {count} 0");
                    disk.Discard((long)first * Sector, (long)count * Sector);
                    break;
                case 9 when random.Next(8) == 0 && disk is Qcow2Image image:
                    // Taken and forgotten: clusters are shared in between.
                    image.CreateSnapshot("kept", DateTime.UnixEpoch);
                    image.DeleteSnapshot("kept");
                    break;
                default:
                    disk.Flush();
                    Say("F");
                    break;
            }
        }

        void Say(string line) => output.Write(System.Text.Encoding.ASCII.GetBytes(line + "\n"));
    }
}
