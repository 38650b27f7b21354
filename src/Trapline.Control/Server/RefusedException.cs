namespace Trapline.Control.Server;

/// <summary>A request that cannot be granted: its status code and one line for people.</summary>
internal sealed class RefusedException(int status, string message) : Exception(message)
{
    public int Status => status;

    public static RefusedException Unknown(string name) => new(404, $"there is no machine '{name}'");

    public static RefusedException Ended(string name) => new(409, $"machine '{name}' has ended");
}
