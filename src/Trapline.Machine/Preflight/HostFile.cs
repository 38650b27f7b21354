namespace Trapline.Machine;

/// <summary>A file in which the kernel tells about itself.</summary>
internal static class HostFile
{
    /// <returns>Null if it is not there or not for us.</returns>
    public static string? Read(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
