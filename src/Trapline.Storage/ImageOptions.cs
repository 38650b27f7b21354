namespace Trapline.Storage;

/// <summary>How an image is open.</summary>
internal sealed record ImageOptions(string Path)
{
    public bool ReadOnly { get; init; }

    public bool Unmap { get; init; }

    public CacheMode Cache { get; init; }
}
