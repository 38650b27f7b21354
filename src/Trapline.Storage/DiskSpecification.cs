using System.Text;
using Trapline.Core;

namespace Trapline.Storage;

/// <summary>A disk as the user asked for it: FILE[,format=raw|qcow2][,ro][,cache=MODE][,discard=unmap|ignore][,serial=TEXT].</summary>
public sealed record DiskSpecification
{
    /// <summary>What a virtio block device has room for (virtio 1.2, 5.2.6.1: VIRTIO_BLK_T_GET_ID).</summary>
    public const int LongestSerial = 20;

    /// <summary>The file; relative to the current directory.</summary>
    public required string Path { get; init; }

    /// <summary>Null: by the file's name, and refused where that is not safe (<see cref="FormatGuess"/>).</summary>
    public ImageFormat? Format { get; init; }

    public bool ReadOnly { get; init; }

    public CacheMode Cache { get; init; }

    /// <summary>What the guest discards is given back to the host.</summary>
    public bool Unmap { get; init; }

    /// <summary>For the guest to tell its disks apart; at most <see cref="LongestSerial"/> ASCII characters.</summary>
    public string? Serial { get; init; }

    /// <summary>A comma within a value is written twice.</summary>
    /// <param name="option">What the user wrote it behind, such as --disk, for messages.</param>
    /// <exception cref="BadInputException">It makes no sense; the message says where.</exception>
    public static DiskSpecification Parse(string option, string text)
    {
        List<string> parts = Split(text);
        if (parts[0].Length == 0)
            throw new BadInputException($"{option} '{text}' names no file: write FILE first, such as disk.qcow2,ro");
        DiskSpecification disk = new() { Path = parts[0] };
        HashSet<string> seen = [];
        foreach (string part in parts.Skip(1))
        {
            int equals = part.IndexOf('=');
            string key = equals < 0 ? part : part[..equals], value = equals < 0 ? "" : part[(equals + 1)..];
            if (!seen.Add(key))
                throw new BadInputException($"{option} '{text}': '{key}' is given a second time: give it once");
            disk = (key, value) switch
            {
                ("ro", _) when equals < 0 => disk with { ReadOnly = true },
                ("format", "raw") => disk with { Format = ImageFormat.Raw },
                ("format", "qcow2") => disk with { Format = ImageFormat.Qcow2 },
                ("format", _) => throw Unknown("raw or qcow2"),
                ("cache", "writeback") => disk with { Cache = CacheMode.Writeback },
                ("cache", "writethrough") => disk with { Cache = CacheMode.Writethrough },
                ("cache", "none") => disk with { Cache = CacheMode.None },
                ("cache", "unsafe") => disk with { Cache = CacheMode.Unsafe },
                ("cache", _) => throw Unknown("writeback, writethrough, none or unsafe"),
                ("discard", "unmap") => disk with { Unmap = true },
                ("discard", "ignore") => disk with { Unmap = false },
                ("discard", _) => throw Unknown("unmap or ignore"),
                ("serial", { Length: > 0 and <= LongestSerial }) when value.All(c => c is > ' ' and <= '~') => disk with { Serial = value },
                ("serial", _) => throw Unknown($"1 to {LongestSerial} ASCII characters without spaces"),
                _ => throw new BadInputException($"{option} '{text}': '{part}' is not known: use format=, ro, cache=, discard= or serial="),
            };

            BadInputException Unknown(string choices) => new($"{option} '{text}': {key} '{value}' cannot be used: use {choices}");
        }
        return disk;
    }

    private static List<string> Split(string text)
    {
        List<string> parts = [];
        StringBuilder part = new();
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] != ',')
                part.Append(text[i]);
            else if (i + 1 < text.Length && text[i + 1] == ',')
                part.Append(text[i++]);
            else
            {
                parts.Add(part.ToString());
                part.Clear();
            }
        }
        parts.Add(part.ToString());
        return parts;
    }
}
