using Trapline.Core;
using Trapline.Machine;

namespace Trapline.Cli.Options;

/// <summary>Reads a boot image that an option names.</summary>
internal static class InputFile
{
    /// <param name="option">The option, for messages.</param>
    /// <param name="path">What the user gave it.</param>
    /// <param name="what">What it should be, such as "a kernel".</param>
    /// <param name="memory">The machine's memory: a larger file cannot be loaded.</param>
    public static BootFile Read(string option, string path, string what, ulong memory)
    {
        string name = $"{option} '{path}'";
        if (Directory.Exists(path))
            throw new BadInputException($"{name} is a directory: give the path of {what}");
        try
        {
            using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            if (file.Length == 0)
                throw new BadInputException($"{name} is empty: give the path of {what}");
            if ((ulong)file.Length >= memory)
                throw new BadInputException(
                    $"{name} ({file.Length >> 20} MiB) is larger than the memory ({memory >> 20} MiB): give more with --memory, or a smaller file");
            if (file.Length > Array.MaxLength)
                throw new BadInputException($"{name} is larger than 2 GiB: give a smaller file");
            return new BootFile(path, BootFile.ReadContent(file));
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new BadInputException($"{name} does not exist: give the path of {what}");
        }
        catch (UnauthorizedAccessException)
        {
            throw new BadInputException($"{name} cannot be read: permission denied; make it readable or give another file");
        }
        catch (IOException e)
        {
            throw new BadInputException($"{name} cannot be read: {e.Message.TrimEnd('.')}; give another file");
        }
    }
}
