using System.CommandLine;
using Trapline.Core;
using Trapline.Storage;

namespace Trapline.Cli.Images;

/// <summary>`trapline image`: disk images, in the manner of qemu-img.</summary>
internal static class ImageCommand
{
    public const string Examples = """
        Examples:
          trapline image create disk.qcow2 10G                      a new image; its format is its name's, or -f's
          trapline image create -b base.qcow2 work.qcow2            one that begins as another one and leaves that as it is
          trapline image convert -c disk.qcow2 small.qcow2          compressed
          trapline image convert -O raw disk.qcow2 disk.img
          trapline image snapshot -c before disk.qcow2              and -a before to go back, -l to list, -d before to delete
          trapline image commit work.qcow2                          what work has that base has not, into base
          trapline image check disk.qcow2                           exit status 0 clean, 1 damaged, 3 space lost

        """;

    public static Command Build(TextWriter output, TextWriter errors) => new("image", "Make, look at, convert and mend disk images: raw and qcow2")
    {
        CreateCommand.Build(),
        InfoCommand.Build(output),
        ConvertCommand.Build(),
        ResizeCommand.Build(),
        SnapshotCommand.Build(output),
        CommitCommand.Build(),
        RebaseCommand.Build(),
        CheckCommand.Build(output, errors),
        MapCommand.Build(output),
        PullCommand.Build(output),
        PullCommand.BuildList(output),
    };

    /// <summary>The host's refusals are answered as bad input is: with one line.</summary>
    public static int Do(Func<int> action)
    {
        try
        {
            return action();
        }
        catch (IOException e)
        {
            throw new BadInputException(e.Message);
        }
    }

    public static int Do(Action action) => Do(() =>
    {
        action();
        return ExitCodes.Success;
    });

    public static Argument<string> File(string name = "file", string description = "The image") => new(name) { Description = description };

    public static Option<string> Format(string name = "-f", string of = "the image") =>
        new(name) { Description = $"The format of {of}: raw or qcow2 [default: by its name]", HelpName = "FORMAT" };

    /// <summary>The value of a format's option; null if it is not given.</summary>
    public static ImageFormat? FormatOf(ParseResult result, Option<string> option) => result.GetValue(option) switch
    {
        null => null,
        "raw" => ImageFormat.Raw,
        "qcow2" => ImageFormat.Qcow2,
        { } other => throw new BadInputException($"{option.Name} '{other}' is not known: use raw or qcow2"),
    };

    /// <summary>The format of an image that is to be made: what is given, or what its name says.</summary>
    public static ImageFormat FormatOfNew(string path, ImageFormat? given) =>
        given ?? (path.EndsWith(".qcow2", StringComparison.OrdinalIgnoreCase) ? ImageFormat.Qcow2 : ImageFormat.Raw);

    public static DiskImage Open(string path, ImageFormat? format, bool readOnly) =>
        DiskImage.Open(new DiskSpecification { Path = path, Format = format, ReadOnly = readOnly, Unmap = true });
}
