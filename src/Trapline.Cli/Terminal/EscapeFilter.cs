namespace Trapline.Cli.Terminal;

/// <summary>Finds the escape sequences in what is typed; the rest goes to the guest.</summary>
/// <param name="quit">Ctrl-A x.</param>
/// <param name="help">Ctrl-A h.</param>
internal sealed class EscapeFilter(Action quit, Action help)
{
    public const string Help = "Ctrl-A x  quit    Ctrl-A h  this help    Ctrl-A a  send Ctrl-A to the guest";

    private const byte Escape = 1;

    private bool _escaped;

    /// <summary>Compacts <paramref name="data"/> to what the guest gets and returns that part.</summary>
    public ReadOnlySpan<byte> Apply(Span<byte> data)
    {
        int kept = 0;
        foreach (byte b in data)
        {
            if (!_escaped)
            {
                if (b == Escape)
                    _escaped = true;
                else
                    data[kept++] = b;
                continue;
            }
            _escaped = false;
            switch (b)
            {
                case (byte)'x' or (byte)'X' or 0x18:
                    quit();
                    return data[..kept];
                case (byte)'a' or (byte)'A' or Escape:
                    data[kept++] = Escape;
                    break;
                case (byte)'h' or (byte)'H' or (byte)'?':
                    help();
                    break;
            }
        }
        return data[..kept];
    }
}
