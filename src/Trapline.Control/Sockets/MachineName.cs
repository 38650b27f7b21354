using System.Buffers;
using Trapline.Core;

namespace Trapline.Control.Sockets;

/// <summary>What a machine may be called: it becomes a file name and part of a path.</summary>
public static class MachineName
{
    public const int MaximumLength = 64;

    private static readonly SearchValues<char> Letters =
        SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.");

    public static bool IsValid(string name) =>
        name.Length is > 0 and <= MaximumLength && !name.AsSpan().ContainsAnyExcept(Letters) && name[0] is not ('.' or '-');

    /// <exception cref="BadInputException">The name cannot be one.</exception>
    public static string Check(string name) => IsValid(name) ? name : throw new BadInputException(Complaint(name));

    /// <summary>What is wrong with a name that is not valid, in one line.</summary>
    public static string Complaint(string name) =>
        $"'{name}' is no name for a machine: use up to {MaximumLength} letters, digits, '-', '_' and '.', beginning with a letter, a digit or '_'";
}
