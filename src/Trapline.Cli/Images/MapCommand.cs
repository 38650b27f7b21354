using System.CommandLine;
using System.Text;
using System.Text.Json;
using Trapline.Storage;
using Trapline.Storage.Operations;

namespace Trapline.Cli.Images;

/// <summary>`trapline image map`.</summary>
internal static class MapCommand
{
    public static Command Build(TextWriter output)
    {
        Option<string> format = ImageCommand.Format();
        Option<bool> json = new("--json") { Description = "As JSON, with the names that qemu-img uses", Arity = ArgumentArity.Zero };
        Argument<string> file = ImageCommand.File();
        Command command = new("map", "Say which parts of a disk lie where") { format, json, file };
        command.SetAction(result => ImageCommand.Do(() =>
        {
            using DiskImage image = ImageCommand.Open(result.GetValue(file)!, ImageCommand.FormatOf(result, format), readOnly: true);
            if (result.GetValue(json))
                WriteJson(output, image);
            else
                Write(output, image);
        }));
        return command;
    }

    private static void Write(TextWriter output, DiskImage image)
    {
        output.WriteLine($"{"OFFSET",-16} {"LENGTH",-16} {"IN FILE AT",-16} FILE");
        foreach ((long start, ChainExtent extent) in ImageChain.Map(image))
        {
            if (extent.Kind is ExtentKind.Data or ExtentKind.Compressed)
                output.WriteLine($"0x{start,-14:x} 0x{extent.Length,-14:x} {(extent.HostOffset < 0 ? "compressed" : $"0x{extent.HostOffset:x}"),-16} {extent.Image.Path}");
        }
    }

    private static void WriteJson(TextWriter output, DiskImage image)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter writer = new(stream, new JsonWriterOptions { Indented = true }))
        {
            writer.WriteStartArray();
            foreach ((long start, ChainExtent extent) in ImageChain.Map(image))
            {
                bool stored = extent.Kind is ExtentKind.Data or ExtentKind.Compressed;
                writer.WriteStartObject();
                writer.WriteNumber("start", start);
                writer.WriteNumber("length", extent.Length);
                writer.WriteNumber("depth", extent.Depth);
                writer.WriteBoolean("present", extent.Kind != ExtentKind.Unallocated);
                writer.WriteBoolean("zero", !stored);
                writer.WriteBoolean("data", stored);
                if (extent.HostOffset >= 0)
                    writer.WriteNumber("offset", extent.HostOffset);
                writer.WriteEndObject();
            }
            writer.WriteEndArray();
        }
        output.WriteLine(Encoding.UTF8.GetString(stream.ToArray()));
    }
}
