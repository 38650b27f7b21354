using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Trapline.Storage;
using Trapline.Storage.Operations;
using Trapline.Storage.Qcow2;

namespace Trapline.Cli.Images;

/// <summary>`trapline image info`.</summary>
internal static class InfoCommand
{
    public static Command Build(TextWriter output)
    {
        Option<string> format = ImageCommand.Format();
        Option<bool> json = new("--json") { Description = "As JSON, with the names that qemu-img uses", Arity = ArgumentArity.Zero };
        Argument<string> file = ImageCommand.File();
        Command command = new("info", "Say what an image is") { format, json, file };
        command.SetAction(result => ImageCommand.Do(() =>
        {
            ImageInfo info = ImageInfo.Of(result.GetValue(file)!, ImageCommand.FormatOf(result, format));
            if (result.GetValue(json))
                output.WriteLine(ToJson(info));
            else
                Write(output, info);
        }));
        return command;
    }

    public static void WriteSnapshots(TextWriter output, IReadOnlyList<Qcow2Snapshot> snapshots)
    {
        output.WriteLine("ID  TAKEN                DISK        NAME");
        foreach (Qcow2Snapshot snapshot in snapshots)
        {
            output.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{snapshot.Id,-3} {snapshot.Taken:yyyy-MM-dd HH:mm:ss}  {ImageSize.Show(snapshot.DiskSize),-10}  {Printable(snapshot.Name)}"));
        }
    }

    private static void Write(TextWriter output, ImageInfo info)
    {
        Line("image", info.Path);
        Line("format", info.Qcow2 is { } kind ? $"qcow2, version {kind.Version}" : "raw");
        Line("disk", $"{ImageSize.Show(info.Length)} ({info.Length} bytes)");
        Line("stored", ImageSize.Show(info.StoredLength));
        if (info.Qcow2 is not { } qcow2)
            return;
        Line("clusters", $"{ImageSize.Show(qcow2.ClusterSize)}, reference counts of {qcow2.RefcountBits} bits{(qcow2.LazyRefcounts ? ", written late" : "")}, {Compression(qcow2)}");
        if (qcow2.BackingName is { } backing)
            Line("based on", $"{Printable(backing)}{(qcow2.BackingFormat is { } format ? $" ({Printable(format)})" : "")}");
        if (qcow2.IsDirty)
            Line("state", "was not closed: the next one to write it counts its references anew");
        if (qcow2.IsCorrupt)
            Line("state", "marked as damaged");
        if (qcow2.Snapshots.Count > 0)
        {
            output.WriteLine();
            WriteSnapshots(output, qcow2.Snapshots);
        }

        void Line(string name, string value) => output.WriteLine($"{name,-9} {value}");
    }

    private static string Compression(Qcow2Info info) => info.Compression == Qcow2Compression.Zstd ? "zstd" : "zlib";

    /// <summary>Names from the image may hold anything; a terminal should not act on it.</summary>
    private static string Printable(string text) => new([.. text.Select(c => char.IsControl(c) ? '?' : c)]);

    private static string ToJson(ImageInfo info)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter writer = new(stream, new JsonWriterOptions { Indented = true }))
        {
            writer.WriteStartObject();
            writer.WriteString("filename", info.Path);
            writer.WriteString("format", info.Format == ImageFormat.Raw ? "raw" : "qcow2");
            writer.WriteNumber("virtual-size", info.Length);
            writer.WriteNumber("actual-size", info.StoredLength);
            if (info.Qcow2 is { } qcow2)
                Write(writer, info.Path, qcow2);
            writer.WriteEndObject();
        }
        return Encoding.UTF8.GetString(stream.ToArray());
    }

    private static void Write(Utf8JsonWriter writer, string path, Qcow2Info qcow2)
    {
        writer.WriteNumber("cluster-size", qcow2.ClusterSize);
        writer.WriteBoolean("dirty-flag", qcow2.IsDirty);
        if (qcow2.BackingName is { } backing)
        {
            writer.WriteString("backing-filename", backing);
            writer.WriteString("full-backing-filename", ImageManager.ResolveBacking(path, backing));
            if (qcow2.BackingFormat is { } format)
                writer.WriteString("backing-filename-format", format);
        }
        if (qcow2.Snapshots.Count > 0)
        {
            writer.WriteStartArray("snapshots");
            foreach (Qcow2Snapshot snapshot in qcow2.Snapshots)
            {
                writer.WriteStartObject();
                writer.WriteString("id", snapshot.Id);
                writer.WriteString("name", snapshot.Name);
                writer.WriteNumber("vm-state-size", snapshot.VmStateSize);
                writer.WriteNumber("date-sec", (long)(snapshot.Taken - DateTime.UnixEpoch).TotalSeconds);
                writer.WriteEndObject();
            }
            writer.WriteEndArray();
        }
        writer.WriteStartObject("format-specific");
        writer.WriteString("type", "qcow2");
        writer.WriteStartObject("data");
        writer.WriteString("compat", qcow2.Version == 2 ? "0.10" : "1.1");
        writer.WriteNumber("refcount-bits", qcow2.RefcountBits);
        writer.WriteBoolean("lazy-refcounts", qcow2.LazyRefcounts);
        writer.WriteBoolean("corrupt", qcow2.IsCorrupt);
        writer.WriteString("compression-type", Compression(qcow2));
        writer.WriteEndObject();
        writer.WriteEndObject();
    }
}
