using System.CommandLine;
using Trapline.Core;
using Trapline.Storage;

namespace Trapline.Cli.Images;

/// <summary>`trapline image resize`.</summary>
internal static class ResizeCommand
{
    public static Command Build()
    {
        Option<string> format = ImageCommand.Format();
        Option<bool> shrink = new("--shrink") { Description = "Let the disk get shorter: what was behind its new end is lost", Arity = ArgumentArity.Zero };
        Argument<string> file = ImageCommand.File(), size = new("size") { Description = "The new size, or +SIZE to add; write -- before -SIZE" };
        Command command = new("resize", "Make a disk longer or shorter") { format, shrink, file, size };
        command.SetAction(result => ImageCommand.Do(() =>
            Resize(result.GetValue(file)!, ImageCommand.FormatOf(result, format), result.GetValue(size)!, result.GetValue(shrink))));
        return command;
    }

    private static void Resize(string file, ImageFormat? format, string size, bool shrink)
    {
        using DiskImage image = ImageCommand.Open(file, format, readOnly: false);
        long length = size switch
        {
            ['+', ..] => image.Length + ImageSize.Parse("the size", size[1..]),
            ['-', ..] => image.Length - ImageSize.Parse("the size", size[1..]),
            _ => ImageSize.Parse("the size", size),
        };
        if (length < image.Length && !shrink)
            throw new BadInputException($"'{file}' has {image.Length} bytes and would lose some: add --shrink if nothing behind the new end is needed");
        image.Resize(length);
    }
}
