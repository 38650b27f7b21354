namespace Trapline.Storage;

/// <summary>A range of a disk that is stored in one way.</summary>
/// <param name="Kind">How.</param>
/// <param name="Length">Bytes from where was asked.</param>
/// <param name="HostOffset">Where in the image file the first byte is; -1 if nowhere as such.</param>
public readonly record struct Extent(ExtentKind Kind, long Length, long HostOffset = -1);

/// <summary>What a range of an image is.</summary>
public enum ExtentKind
{
    /// <summary>Nothing is stored: reads come from the backing image, or are zeroes.</summary>
    Unallocated,

    /// <summary>Reads are zeroes, whatever the backing image has.</summary>
    Zero,

    /// <summary>Stored as it is.</summary>
    Data,

    /// <summary>Stored compressed.</summary>
    Compressed,
}
