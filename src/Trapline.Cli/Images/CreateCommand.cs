using System.CommandLine;
using Trapline.Core;
using Trapline.Storage;
using Trapline.Storage.Operations;

namespace Trapline.Cli.Images;

/// <summary>`trapline image create`.</summary>
internal static class CreateCommand
{
    public static Command Build()
    {
        Option<string> format = ImageCommand.Format(of: "the new image"), backing = Backing(), backingFormat = ImageCommand.Format("-F", "the image that it is based on");
        Option<string> options = new("-o") { Description = CreationOptions.Help, HelpName = "KEY=VALUE,..." };
        Argument<string> file = ImageCommand.File();
        Argument<string?> size = new("size") { Description = "Bytes, or a number with K, M, G or T; with -b, that image's if left out", Arity = ArgumentArity.ZeroOrOne };
        Command command = new("create", "Make an empty image, or one that begins as another one") { format, backing, backingFormat, options, file, size };
        command.SetAction(result => ImageCommand.Do(() => Create(
            result.GetValue(file)!, result.GetValue(size), ImageCommand.FormatOf(result, format), result.GetValue(options),
            result.GetValue(backing), ImageCommand.FormatOf(result, backingFormat))));
        return command;
    }

    public static Option<string> Backing() => new("-b") { Description = "The image that it is based on, relative to its own folder", HelpName = "FILE" };

    private static void Create(string file, string? size, ImageFormat? given, string? options, string? backing, ImageFormat? backingFormat)
    {
        ImageFormat format = given ?? (backing != null ? ImageFormat.Qcow2 : ImageCommand.FormatOfNew(file, null));
        CreationOptions creation = CreationOptions.Parse(options, format);
        long length = 0;
        if (backing != null)
        {
            string path = ImageManager.ResolveBacking(file, backing);
            if (Path.GetFullPath(path) == Path.GetFullPath(file))
                throw new BadInputException($"-b '{backing}' is the image itself: name another one");
            using DiskImage below = ImageCommand.Open(path, backingFormat, readOnly: true);
            (length, backingFormat) = (below.Length, below.Format);
        }
        if (size != null)
            length = ImageSize.Parse("the size", size);
        else if (backing == null)
            throw new BadInputException($"'{file}' needs a size: trapline image create {file} 10G");
        creation.Create(file, format, length, backing, backingFormat ?? ImageFormat.Raw);
    }
}
