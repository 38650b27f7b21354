namespace Trapline.Storage;

/// <summary>How a disk's content lies in a file.</summary>
public enum ImageFormat
{
    /// <summary>Byte for byte.</summary>
    Raw,

    /// <summary>QEMU's copy-on-write format, version 2 or 3.</summary>
    Qcow2,
}
