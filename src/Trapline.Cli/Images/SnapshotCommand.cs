using System.CommandLine;
using Trapline.Core;
using Trapline.Storage;
using Trapline.Storage.Operations;
using Trapline.Storage.Qcow2;

namespace Trapline.Cli.Images;

/// <summary>`trapline image snapshot`.</summary>
internal static class SnapshotCommand
{
    public static Command Build(TextWriter output)
    {
        Option<string> format = ImageCommand.Format();
        Option<bool> list = new("-l") { Description = "List the image's snapshots", Arity = ArgumentArity.Zero };
        Option<string> create = Named("-c", "Keep the disk as it is now, by this name"), apply = Named("-a", "Make the disk what it was then; what it is now is lost");
        Option<string> delete = Named("-d", "Forget a snapshot");
        Argument<string> file = ImageCommand.File();
        Command command = new("snapshot", "Snapshots within a qcow2 image") { format, list, create, apply, delete, file };
        command.SetAction(result => ImageCommand.Do(() =>
        {
            (string? made, string? applied, string? deleted) = (result.GetValue(create), result.GetValue(apply), result.GetValue(delete));
            if (new[] { made, applied, deleted }.Count(n => n != null) + (result.GetValue(list) ? 1 : 0) != 1)
                throw new BadInputException("snapshot does one thing at a time: give -l, -c NAME, -a NAME or -d NAME");
            using Qcow2Image image = ImageManager.OpenQcow2(result.GetValue(file)!, ImageCommand.FormatOf(result, format), result.GetValue(list));
            if (made != null)
                image.CreateSnapshot(made, DateTime.UtcNow);
            else if (applied != null)
                image.ApplySnapshot(applied);
            else if (deleted != null)
                image.DeleteSnapshot(deleted);
            else
                InfoCommand.WriteSnapshots(output, image.Snapshots);
        }));
        return command;
    }

    private static Option<string> Named(string name, string description) => new(name) { Description = description, HelpName = "NAME" };
}
