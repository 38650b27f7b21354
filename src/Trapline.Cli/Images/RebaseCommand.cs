using System.CommandLine;
using Trapline.Core;
using Trapline.Storage;
using Trapline.Storage.Operations;
using Trapline.Storage.Qcow2;

namespace Trapline.Cli.Images;

/// <summary>`trapline image rebase`.</summary>
internal static class RebaseCommand
{
    public static Command Build()
    {
        Option<string> backing = CreateCommand.Backing(), backingFormat = ImageCommand.Format("-F", "that image");
        backing.Description = "The image to be based on from now on, relative to the image's folder; '' for none";
        Option<bool> nameOnly = new("-u") { Description = "Change the name alone: the disk is only right if the new image has the same content", Arity = ArgumentArity.Zero };
        Argument<string> file = ImageCommand.File();
        Command command = new("rebase", "Base an image on another one, its disk staying as it is") { backing, backingFormat, nameOnly, file };
        command.SetAction(result => ImageCommand.Do(() =>
            Rebase(result.GetValue(file)!, result.GetValue(backing), ImageCommand.FormatOf(result, backingFormat), result.GetValue(nameOnly))));
        return command;
    }

    private static void Rebase(string file, string? backing, ImageFormat? format, bool nameOnly)
    {
        if (backing == null)
            throw new BadInputException("rebase needs -b FILE, or -b '' to base the image on nothing");
        if (backing.Length > 0 && Path.GetFullPath(ImageManager.ResolveBacking(file, backing)) == Path.GetFullPath(file))
            throw new BadInputException($"-b '{backing}' is the image itself: name another one");
        if (backing.Length > 0 && (format == null || !nameOnly))
        {
            using DiskImage next = ImageCommand.Open(ImageManager.ResolveBacking(file, backing), format, readOnly: true);
            format = next.Format;
            if (!nameOnly)
                KeepContent(file, next);
        }
        else if (!nameOnly)
            KeepContent(file, null);
        ImageManager.SetBacking(file, backing.Length == 0 ? null : backing, format ?? ImageFormat.Raw);
    }

    private static void KeepContent(string file, DiskImage? next)
    {
        using Qcow2Image image = ImageManager.OpenQcow2(file, ImageFormat.Qcow2, readOnly: false);
        ImageProgress.Run("rebasing", image.Length, progress => ImageCopy.KeepContent(image, next, progress));
    }
}
