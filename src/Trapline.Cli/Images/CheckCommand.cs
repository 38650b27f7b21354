using System.CommandLine;
using System.Globalization;
using Trapline.Core;
using Trapline.Storage;

namespace Trapline.Cli.Images;

/// <summary>`trapline image check`.</summary>
internal static class CheckCommand
{
    private const int Damaged = 1, Leaking = 3;

    public static Command Build(TextWriter output, TextWriter errors)
    {
        Option<string> format = ImageCommand.Format();
        Option<bool> repair = new("--repair") { Description = "Count all references anew, and drop pointers to nowhere", Arity = ArgumentArity.Zero };
        repair.Aliases.Add("-r");
        Argument<string> file = ImageCommand.File();
        Command command = new("check", "Look a qcow2 image's tables over; exit status 0 clean, 1 damaged, 3 space lost") { format, repair, file };
        command.SetAction(result => ImageCommand.Do(() =>
        {
            if (ImageCommand.FormatOf(result, format) == ImageFormat.Raw)
                throw new BadInputException("-f raw: a raw image has nothing that could be checked");
            string path = result.GetValue(file)!;
            if (result.GetValue(repair))
                ImageCheck.Repair(path);
            return Write(output, errors, path, ImageCheck.Check(path));
        }));
        return command;
    }

    private static int Write(TextWriter output, TextWriter errors, string path, ImageCheckResult found)
    {
        foreach (string detail in found.Details)
            errors.WriteLine($"trapline: '{path}': {detail}");
        if (found.Corruptions > found.Details.Count)
            errors.WriteLine($"trapline: '{path}': and {found.Corruptions - found.Details.Count} more");
        double share = found.TotalClusters == 0 ? 0 : 100.0 * found.AllocatedClusters / found.TotalClusters;
        output.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{found.AllocatedClusters} of {found.TotalClusters} clusters allocated ({share:0.0}%), {found.CompressedClusters} of them compressed"));
        if (found.WasNotClosed)
            output.WriteLine("it was not closed: the next one to write it counts its references anew");
        if (found.Leaks > 0)
            output.WriteLine($"{found.Leaks} clusters are lost space: trapline image check --repair gives them back to the image");
        output.WriteLine(found.Corruptions > 0
            ? "it is damaged: copy it away, then trapline image check --repair mends what can be mended"
            : "no errors were found");
        // Counts that are late are as they should be in an image that was not closed.
        return found.Corruptions > 0 && !found.WasNotClosed ? Damaged : found.Leaks > 0 && !found.WasNotClosed ? Leaking : ExitCodes.Success;
    }
}
