using System.CommandLine;
using Trapline.Core;
using Trapline.Storage;
using Trapline.Storage.Operations;

namespace Trapline.Cli.Images;

/// <summary>`trapline image convert`.</summary>
internal static class ConvertCommand
{
    public static Command Build()
    {
        Option<string> format = ImageCommand.Format(of: "the source"), output = ImageCommand.Format("-O", "the target");
        Option<string> options = new("-o") { Description = CreationOptions.Help, HelpName = "KEY=VALUE,..." };
        Option<bool> compress = new("-c") { Description = "Compress the target, a qcow2 image", Arity = ArgumentArity.Zero };
        Argument<string> source = ImageCommand.File("source"), target = ImageCommand.File("target", "The new image; what was there is lost");
        Command command = new("convert", "Copy a disk, with all that it is based on, into a new image") { format, output, options, compress, source, target };
        command.SetAction(result => ImageCommand.Do(() => Convert(
            result.GetValue(source)!, ImageCommand.FormatOf(result, format), result.GetValue(target)!, ImageCommand.FormatOf(result, output),
            result.GetValue(options), result.GetValue(compress))));
        return command;
    }

    private static void Convert(string from, ImageFormat? format, string to, ImageFormat? output, string? options, bool compress)
    {
        ImageFormat made = ImageCommand.FormatOfNew(to, output);
        CreationOptions creation = CreationOptions.Parse(options, made);
        if (compress && made != ImageFormat.Qcow2)
            throw new BadInputException("-c makes compressed qcow2 images only: add -O qcow2");
        using DiskImage source = ImageCommand.Open(from, format, readOnly: true);
        creation.Create(to, made, source.Length, null, default);
        using DiskImage target = DiskImage.Open(new DiskSpecification { Path = to, Format = made, Unmap = true });
        ImageProgress.Run("converting", source.Length, progress => ImageCopy.Convert(source, target, compress, progress));
    }
}
