using System.Globalization;
using Trapline.Core;
using Trapline.Storage;
using Trapline.Storage.Qcow2;

namespace Trapline.Cli.Images;

/// <summary>What -o says of a new image: KEY=VALUE[,KEY=VALUE].</summary>
internal sealed record CreationOptions
{
    public const string Help = "For qcow2 cluster_size=, refcount_bits=, lazy_refcounts=on|off, compression_type=zlib|zstd; for raw preallocation=off|falloc";

    private int ClusterSize { get; init; } = 1 << 16;

    private int RefcountBits { get; init; } = 16;

    private bool LazyRefcounts { get; init; }

    private Qcow2Compression Compression { get; init; }

    private bool Preallocate { get; init; }

    public static CreationOptions Parse(string? text, ImageFormat format)
    {
        CreationOptions options = new();
        foreach (string part in (text ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            int equals = part.IndexOf('=', StringComparison.Ordinal);
            string key = equals < 0 ? part : part[..equals], value = equals < 0 ? "" : part[(equals + 1)..];
            options = (format, key) switch
            {
                (ImageFormat.Qcow2, "cluster_size") => options with { ClusterSize = (int)Math.Min(ImageSize.Parse("-o cluster_size", value), int.MaxValue) },
                (ImageFormat.Qcow2, "refcount_bits") => options with { RefcountBits = int.TryParse(value, CultureInfo.InvariantCulture, out int bits) ? bits : 0 },
                (ImageFormat.Qcow2, "lazy_refcounts") => options with { LazyRefcounts = IsOn(value) },
                (ImageFormat.Qcow2, "compression_type") when value is "zlib" or "zstd" =>
                    options with { Compression = value == "zstd" ? Qcow2Compression.Zstd : Qcow2Compression.Zlib },
                (ImageFormat.Raw, "preallocation") when value is "off" or "falloc" => options with { Preallocate = value == "falloc" },
                _ => throw new BadInputException($"-o '{part}' cannot be used with {(format == ImageFormat.Raw ? "raw" : "qcow2")}: {Help}"),
            };

            bool IsOn(string value) => value is "on" or "off" ? value == "on" : throw new BadInputException($"-o '{part}' cannot be used: use on or off");
        }
        return options;
    }

    public void Create(string path, ImageFormat format, long size, string? backing, ImageFormat backingFormat)
    {
        if (format == ImageFormat.Raw)
        {
            if (backing != null)
                throw new BadInputException($"-b '{backing}': a raw image cannot be based on another one; use -f qcow2");
            ImageCreator.CreateRaw(path, size, Preallocate);
            return;
        }
        ImageCreator.CreateQcow2(path, new Qcow2Settings
        {
            Size = size, ClusterSize = ClusterSize, RefcountBits = RefcountBits, LazyRefcounts = LazyRefcounts, Compression = Compression,
            BackingName = backing, BackingFormat = backingFormat,
        });
    }
}
