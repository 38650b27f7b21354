using Trapline.Core;

namespace Trapline.Cli.Options;

/// <summary>Opens a file that an option names for writing.</summary>
internal static class OutputFile
{
    public static FileStream Create(string option, string value, string path)
    {
        try
        {
            return new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.Read, bufferSize: 0);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            string reason = e is DirectoryNotFoundException ? "its directory does not exist"
                : Directory.Exists(path) ? "it is a directory" : e is UnauthorizedAccessException ? "permission denied" : e.Message.TrimEnd('.');
            throw new BadInputException($"{option} '{value}' cannot be written: {reason}; give another path");
        }
    }
}
