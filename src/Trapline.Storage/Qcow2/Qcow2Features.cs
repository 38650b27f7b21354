namespace Trapline.Storage.Qcow2;

/// <summary>Bits of incompatible_features (qcow2: Header).</summary>
[Flags]
internal enum IncompatibleFeatures : ulong
{
    None = 0,
    Dirty = 1,
    Corrupt = 2,
    ExternalData = 4,
    CompressionType = 8,
    ExtendedL2 = 16,
    Supported = Dirty | Corrupt | CompressionType,
}

/// <summary>Bits of compatible_features (qcow2: Header).</summary>
[Flags]
internal enum CompatibleFeatures : ulong
{
    None = 0,
    LazyRefcounts = 1,
}

/// <summary>Bits of autoclear_features (qcow2: Header).</summary>
[Flags]
internal enum AutoclearFeatures : ulong
{
    None = 0,
    Bitmaps = 1,
}

/// <summary>How compressed clusters are compressed (qcow2: Additional fields).</summary>
public enum Qcow2Compression : byte
{
    /// <summary>Deflate without a header.</summary>
    Zlib = 0,

    /// <summary>Zstandard, where the host has its library.</summary>
    Zstd = 1,
}
