namespace Trapline.Control.Client;

/// <summary>A request was refused, or nobody answered. The message is one line for people.</summary>
/// <param name="status">The HTTP status, or 0 where there was no answer.</param>
public sealed class ControlException(int status, string message) : Exception(message)
{
    public int Status => status;
}
