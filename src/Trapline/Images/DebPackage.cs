using System.Diagnostics;
using System.Formats.Tar;
using Trapline.Core;

namespace Trapline.Images;

/// <summary>Takes single files out of a Debian package.</summary>
internal static class DebPackage
{
    /// <summary>Copies the first file that each predicate wants (its path without a leading "./") into <paramref name="directory"/>.</summary>
    public static async Task ExtractAsync(
        string package, string directory, IReadOnlyList<(Func<string, bool> Wanted, string Target)> files, CancellationToken cancellation)
    {
        using Process unpacker = HostCommand.Start("dpkg-deb", ["--fsys-tarfile", package], null);
        Task<string> errors = unpacker.StandardError.ReadToEndAsync(CancellationToken.None);
        try
        {
            await CopyAsync(unpacker.StandardOutput.BaseStream, directory, files, cancellation).ConfigureAwait(false);
            await unpacker.WaitForExitAsync(cancellation).ConfigureAwait(false);
        }
        catch (Exception e) when (e is InvalidDataException or EndOfStreamException)
        {
            unpacker.Kill();
            throw new BadInputException($"the package {Path.GetFileName(package)} cannot be unpacked: {e.Message}; try again");
        }
        finally
        {
            if (!unpacker.HasExited)
                unpacker.Kill();
        }
        if (unpacker.ExitCode != 0)
            throw new BadInputException(
                $"the package {Path.GetFileName(package)} cannot be unpacked: {new HostCommandResult(unpacker.ExitCode, "", await errors.ConfigureAwait(false)).Complaint}; try again");
    }

    private static async Task CopyAsync(
        Stream archive, string directory, IReadOnlyList<(Func<string, bool> Wanted, string Target)> files, CancellationToken cancellation)
    {
        using TarReader reader = new(archive, leaveOpen: true);
        while (await reader.GetNextEntryAsync(copyData: false, cancellation).ConfigureAwait(false) is { } entry)
        {
            if (entry.EntryType is not (TarEntryType.RegularFile or TarEntryType.V7RegularFile) || entry.DataStream is not { } data)
                continue;
            string path = entry.Name.StartsWith("./", StringComparison.Ordinal) ? entry.Name[2..] : entry.Name;
            foreach ((Func<string, bool> wanted, string target) in files)
            {
                string destination = Path.Combine(directory, target);
                if (!wanted(path) || File.Exists(destination))
                    continue;
                await using FileStream file = new(destination, FileMode.CreateNew);
                await data.CopyToAsync(file, cancellation).ConfigureAwait(false);
                break;
            }
        }
        // The tar reader stops at the end mark; dpkg-deb wants its padding taken too.
        await archive.CopyToAsync(Stream.Null, cancellation).ConfigureAwait(false);
    }
}
