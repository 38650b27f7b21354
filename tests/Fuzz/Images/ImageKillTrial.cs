using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using Trapline.Storage;
using Trapline.Storage.Qcow2;

namespace Trapline.Fuzz.Images;

/// <summary>Writers of one image that are killed (SIGKILL) at random moments, and what each leaves: no corruption, and everything that was flushed.</summary>
public sealed class ImageKillTrial
{
    private const int Sectors = 8192;

    private readonly string _path;
    private readonly Random _random;
    private readonly HashSet<int>[] _possible = [.. Enumerable.Range(0, Sectors).Select(_ => new HashSet<int> { 0 })];
    private readonly int[] _last = new int[Sectors];
    private readonly bool[] _discarded = new bool[Sectors];
    private int _writers;

    public ImageKillTrial(string path, int seed)
    {
        _path = path;
        _random = new Random(seed);
        File.Delete(path);
        ImageCreator.CreateQcow2(path, new Qcow2Settings
        {
            Size = Sectors * ImageWriter.Sector, ClusterSize = 512 << _random.Next(8), RefcountBits = 8 << _random.Next(4), LazyRefcounts = _random.Next(3) == 0,
        });
    }

    /// <summary>Starts a writer, kills it, and looks. Null if all is well.</summary>
    /// <param name="qemu">Has qemu-img look, too.</param>
    public string? Kill(bool qemu)
    {
        Follow();
        ImageCheckResult found = ImageCheck.Check(_path);
        if (found is { WasNotClosed: false, Corruptions: > 0 })
            return $"{found.Corruptions} corruptions: {string.Join("; ", found.Details)}";
        if (Open() is { } wrong)
            return wrong;
        ImageCheckResult after = ImageCheck.Check(_path);
        if (after.Corruptions > 0 || after.WasNotClosed)
            return $"after use {after.Corruptions} corruptions: {string.Join("; ", after.Details)}";
        return qemu ? AskQemu() : null;
    }

    private void Follow()
    {
        string assembly = typeof(ImageWriter).Assembly.Location;
        ProcessStartInfo settings = new(Environment.ProcessPath is { } host && Path.GetFileName(host) == "dotnet" ? host : "dotnet",
            [assembly, "image-writer", _path, (++_writers).ToString(CultureInfo.InvariantCulture)])
        { RedirectStandardOutput = true };
        using Process writer = Process.Start(settings)!;
        Timer? end = null;
        while (writer.StandardOutput.ReadLine() is { } line)
        {
            // Lines are shorter than a pipe's atomic write (pipe(7)), so none is cut short.
            string[] words = line.Split(' ');
            if (words[0] == "R")
                end = new Timer(_ => writer.Kill(), null, _random.Next(1, 80), Timeout.Infinite);
            else if (words[0] == "F")
                Settle();
            else if (words.Length == 4)
                Note(words[0] == "D", Number(words[1]), Number(words[2]), Number(words[3]));
        }
        writer.WaitForExit();
        end?.Dispose();

        static int Number(string word) => int.Parse(word, CultureInfo.InvariantCulture);
    }

    private void Note(bool discard, int first, int count, int mark)
    {
        for (int i = first; i < first + count; i++)
        {
            _possible[i].Add(mark);
            (_last[i], _discarded[i]) = (mark, discard);
        }
    }

    private void Settle()
    {
        for (int i = 0; i < Sectors; i++)
        {
            // What was discarded and not written since may be anything that was there before.
            if (_discarded[i])
                continue;
            _possible[i].Clear();
            _possible[i].Add(_last[i]);
        }
    }

    private string? Open()
    {
        byte[] sector = new byte[ImageWriter.Sector];
        using DiskImage disk = DiskImage.Open(new DiskSpecification { Path = _path, Format = ImageFormat.Qcow2, Unmap = true });
        if (disk is Qcow2Image { Snapshots.Count: > 0 } image)
            image.DeleteSnapshot("kept");
        for (int i = 0; i < Sectors; i++)
        {
            disk.Read((long)i * ImageWriter.Sector, sector);
            ReadOnlySpan<int> marks = MemoryMarshal.Cast<byte, int>(sector);
            if (marks.ContainsAnyExcept(marks[0]) || !_possible[i].Contains(marks[0]))
                return $"sector {i} has {marks[0]}, not one of {string.Join(", ", _possible[i])}";
            _possible[i].Clear();
            _possible[i].Add(marks[0]);
            (_last[i], _discarded[i]) = (marks[0], false);
        }
        disk.Flush();
        return null;
    }

    private string? AskQemu()
    {
        using Process check = Process.Start(new ProcessStartInfo("qemu-img", ["check", "-f", "qcow2", _path]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        string said = check.StandardOutput.ReadToEnd() + check.StandardError.ReadToEnd();
        check.WaitForExit();
        // 3: clusters that are lost, nothing else.
        return check.ExitCode is 0 or 3 ? null : $"qemu-img check: {check.ExitCode}: {said}";
    }
}
