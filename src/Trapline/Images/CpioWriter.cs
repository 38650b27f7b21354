using System.Text;

namespace Trapline.Images;

/// <summary>Writes the archive format of Linux's initramfs: cpio in its "newc" form, all fields as eight hexadecimal digits.</summary>
/// <remarks>Archives are reproducible: same entries, same bytes. The owner is root, the time is zero.</remarks>
public sealed class CpioWriter(Stream output)
{
    private const uint DirectoryType = 0x4000;
    private const uint FileType = 0x8000;
    private const uint LinkType = 0xA000;
    private const uint CharacterType = 0x2000;

    private uint _inode;
    private long _written;

    public void AddDirectory(string path, uint permissions = 0x1ED) => Add(path, DirectoryType | permissions, []);

    public void AddFile(string path, ReadOnlySpan<byte> content, uint permissions = 0x1A4) => Add(path, FileType | permissions, content);

    public void AddLink(string path, string target) => Add(path, LinkType | 0x1FF, Encoding.UTF8.GetBytes(target));

    public void AddCharacterDevice(string path, uint major, uint minor, uint permissions) =>
        Add(path, CharacterType | permissions, [], major, minor);

    /// <summary>Ends the archive, padded to a multiple of 512 bytes as the cpio program does.</summary>
    public void Finish()
    {
        _inode = uint.MaxValue;
        Add("TRAILER!!!", 0, []);
        Pad(512);
    }

    private void Add(string path, uint mode, ReadOnlySpan<byte> content, uint major = 0, uint minor = 0)
    {
        byte[] name = Encoding.UTF8.GetBytes(path + "\0");
        _inode++;
        uint links = (mode & 0xF000) == DirectoryType ? 2u : 1u;
        uint[] fields = [_inode, mode, 0, 0, links, 0, (uint)content.Length, 0, 0, major, minor, (uint)name.Length, 0];
        StringBuilder header = new("070701");
        foreach (uint field in fields)
            header.Append(field.ToString("X8", System.Globalization.CultureInfo.InvariantCulture));
        Write(Encoding.ASCII.GetBytes(header.ToString()));
        Write(name);
        Pad(4);
        Write(content);
        Pad(4);
    }

    private void Write(ReadOnlySpan<byte> data)
    {
        output.Write(data);
        _written += data.Length;
    }

    private void Pad(int alignment)
    {
        int rest = (int)(_written % alignment);
        if (rest != 0)
            Write(new byte[alignment - rest]);
    }
}
