namespace Trapline.Core;

/// <summary>What the user gave cannot be used. The message is one line that names the thing, says what is wrong and what to do.</summary>
/// <remarks>Thrown while a machine is put together, never while it runs; the command line turns it into exit status 2.</remarks>
public sealed class BadInputException(string message) : Exception(message);
