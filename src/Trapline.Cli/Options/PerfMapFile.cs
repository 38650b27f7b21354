using Trapline.Core;

namespace Trapline.Cli.Options;

/// <summary>Where Linux perf looks for the names of generated code.</summary>
internal static class PerfMapFile
{
    /// <summary>.NET writes its own names there if told to: then ours are added.</summary>
    public static StreamWriter Open()
    {
        string path = $"/tmp/perf-{Environment.ProcessId}.map";
        bool shared = Environment.GetEnvironmentVariable("DOTNET_PerfMapEnabled") is { } set && set != "0";
        try
        {
            FileStream file = new(path, shared ? FileMode.Append : FileMode.Create, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
            return new StreamWriter(file, bufferSize: 1 << 16);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BadInputException($"--perf-map: '{path}' cannot be written: {e.Message.TrimEnd('.')}");
        }
    }
}
