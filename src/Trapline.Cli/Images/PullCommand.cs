using System.CommandLine;
using Trapline.Cli.Reports;
using Trapline.Images;

namespace Trapline.Cli.Images;

/// <summary>`trapline image pull` and `trapline image list`.</summary>
internal static class PullCommand
{
    public static Command Build(TextWriter output)
    {
        Argument<string> name = new("name") { Description = "debian" };
        name.CompletionSources.Add([.. DiskImageStore.Known]);
        Command command = new("pull", "Build a Debian root file system from the distribution's packages, for trapline run --image debian") { name };
        command.SetAction((result, cancellation) => PullAsync(output, result.GetValue(name)!, cancellation));
        return command;
    }

    public static Command BuildList(TextWriter output)
    {
        Command command = new("list", "List the images that trapline run --image can use");
        command.SetAction(_ => Write(output, DiskImageStore.ForUser().List()));
        return command;
    }

    private static async Task<int> PullAsync(TextWriter output, string name, CancellationToken cancellation)
    {
        StoredDiskImage image = await FetchReporter.ShowAsync(progress => DiskImageStore.ForUser().PullAsync(name, progress, cancellation)).ConfigureAwait(false);
        output.WriteLine($"{image.Name} is in {image.Path}: trapline run --image {image.Name}");
        return ExitCodes.Success;
    }

    private static void Write(TextWriter output, IReadOnlyList<StoredDiskImage> images)
    {
        output.WriteLine($"{"NAME",-10} {"MADE",-17} {"DISK",-10} FILE");
        foreach (StoredDiskImage image in images)
            output.WriteLine($"{image.Name,-10} {image.Made,-17:yyyy-MM-dd HH:mm} {ImageSize.Show(image.Length),-10} {image.Path}");
    }
}
