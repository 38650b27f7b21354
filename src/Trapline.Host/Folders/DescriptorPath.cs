using System.Runtime.CompilerServices;

namespace Trapline.Host;

/// <summary>The path by which a descriptor of this process leads to its very file, for calls that take no descriptor made with O_PATH (proc(5), /proc/PID/fd).</summary>
internal readonly struct DescriptorPath
{
    private const int Length = 32;

    [InlineArray(Length)]
    private struct Text
    {
        private byte _first;
    }

    private readonly Text _text;

    public DescriptorPath(int descriptor)
    {
        Span<byte> text = _text;
        "/proc/self/fd/"u8.CopyTo(text);
        // Ten digits at most: the rest is zeroes.
        descriptor.TryFormat(text["/proc/self/fd/"u8.Length..], out _);
    }

    [System.Diagnostics.CodeAnalysis.UnscopedRef]
    public ReadOnlySpan<byte> Bytes => _text;
}
