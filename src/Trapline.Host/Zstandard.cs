using System.Runtime.InteropServices;

namespace Trapline.Host;

/// <summary>Zstandard by the system's library, where it is installed: .NET has none of its own.</summary>
public static unsafe class Zstandard
{
    private static readonly nint Library = NativeLibrary.TryLoad("libzstd.so.1", out nint library) ? library : 0;

    // Contexts are made for each call: they are small beside what is unpacked, and threads need not share.
    private static readonly delegate* unmanaged<nint> CreateContext = (delegate* unmanaged<nint>)Find("ZSTD_createDStream");
    private static readonly delegate* unmanaged<nint, nuint> FreeContext = (delegate* unmanaged<nint, nuint>)Find("ZSTD_freeDStream");
    private static readonly delegate* unmanaged<nint, Buffer*, Buffer*, nuint> Decompress = (delegate* unmanaged<nint, Buffer*, Buffer*, nuint>)Find("ZSTD_decompressStream");
    private static readonly delegate* unmanaged<byte*, nuint, byte*, nuint, nuint> DecompressWhole = (delegate* unmanaged<byte*, nuint, byte*, nuint, nuint>)Find("ZSTD_decompress");
    private static readonly delegate* unmanaged<byte*, nuint, byte*, nuint, int, nuint> Compress = (delegate* unmanaged<byte*, nuint, byte*, nuint, int, nuint>)Find("ZSTD_compress");
    private static readonly delegate* unmanaged<nuint, uint> IsError = (delegate* unmanaged<nuint, uint>)Find("ZSTD_isError");

    public static bool IsAvailable { get; } = CreateContext != null && FreeContext != null && Decompress != null && DecompressWhole != null && Compress != null && IsError != null;

    /// <summary>Fills the target from one frame, which may end before the source does. False if it is no such frame or yields less.</summary>
    public static bool TryUnpack(ReadOnlySpan<byte> source, Span<byte> target)
    {
        if (!IsAvailable)
            return false;
        nint context = CreateContext();
        if (context == 0)
            return false;
        try
        {
            // Both stay where they are while the library, which gets their lengths, works on them.
            fixed (byte* from = source, to = target)
            {
                Buffer input = new() { Start = (nint)from, Length = (nuint)source.Length }, output = new() { Start = (nint)to, Length = (nuint)target.Length };
                while (output.Position < output.Length)
                {
                    (nuint read, nuint written) = (input.Position, output.Position);
                    nuint left = Decompress(context, &output, &input);
                    if (IsError(left) != 0 || (read == input.Position && written == output.Position))
                        return false;
                    if (left == 0)
                        break;
                }
                return output.Position == output.Length;
            }
        }
        finally
        {
            FreeContext(context);
        }
    }

    /// <summary>Fills the target from a source that is frames and nothing else: straight into it, without a window of the library's own beside it.</summary>
    public static bool TryUnpackWhole(ReadOnlySpan<byte> source, Span<byte> target)
    {
        if (!IsAvailable)
            return false;
        fixed (byte* from = source, to = target)
        {
            nuint length = DecompressWhole(to, (nuint)target.Length, from, (nuint)source.Length);
            return IsError(length) == 0 && length == (nuint)target.Length;
        }
    }

    /// <summary>Bytes of the frame; zero if the target is too small for it.</summary>
    public static int Pack(ReadOnlySpan<byte> source, Span<byte> target)
    {
        const int usualLevel = 3;
        if (!IsAvailable)
            return 0;
        fixed (byte* from = source, to = target)
        {
            nuint length = Compress(to, (nuint)target.Length, from, (nuint)source.Length, usualLevel);
            return IsError(length) != 0 ? 0 : (int)length;
        }
    }

    private static nint Find(string name) => Library != 0 && NativeLibrary.TryGetExport(Library, name, out nint address) ? address : 0;

    /// <summary>ZSTD_inBuffer and ZSTD_outBuffer, which are alike.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Buffer
    {
        public nint Start;
        public nuint Length;
        public nuint Position;
    }
}
