using Microsoft.Win32.SafeHandles;

namespace Trapline.Host;

/// <summary>Reading parts of files that must be there.</summary>
public static class FileContent
{
    /// <exception cref="EndOfStreamException">The file ends before.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static void ReadExactly(SafeFileHandle file, Span<byte> content, ulong offset)
    {
        for (int done = 0; done < content.Length;)
        {
            int read = RandomAccess.Read(file, content[done..], (long)offset + done);
            if (read == 0)
                throw new EndOfStreamException("it is cut off");
            done += read;
        }
    }
}
