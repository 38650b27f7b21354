using System.CommandLine;
using Trapline.Storage.Operations;
using Trapline.Storage.Qcow2;

namespace Trapline.Cli.Images;

/// <summary>`trapline image commit`.</summary>
internal static class CommitCommand
{
    public static Command Build()
    {
        Option<bool> keep = new("-d") { Description = "Do not empty the image afterwards", Arity = ArgumentArity.Zero };
        Argument<string> file = ImageCommand.File();
        Command command = new("commit", "Write what an image has into the one it is based on, and empty it") { keep, file };
        command.SetAction(result => ImageCommand.Do(() =>
        {
            using Qcow2Image image = ImageManager.OpenForCommit(result.GetValue(file)!);
            ImageProgress.Run("committing", image.Length, progress => ImageCopy.Commit(image, result.GetValue(keep), progress));
        }));
        return command;
    }
}
