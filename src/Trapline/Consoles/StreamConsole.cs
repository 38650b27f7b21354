using Trapline.Core;

namespace Trapline.Consoles;

/// <summary>A serial port on host streams: what the guest sends goes to one, what the other gives goes to the guest.</summary>
public sealed class StreamConsole : ICharacterBackend, IDisposable
{
    private readonly OutputPump _output;
    private readonly SinkWriter _writer = new();
    private readonly Stream? _input;
    private readonly InputFilter? _filter;

    /// <summary>Looks at input on its way to the guest and may keep some of it: returns what is passed on.</summary>
    public delegate ReadOnlySpan<byte> InputFilter(Span<byte> data);

    /// <param name="output">Takes what the guest sends; the caller owns it.</param>
    /// <param name="input">Gives what the guest receives, or null. Read on a thread of its own, from when the guest has the port.</param>
    /// <param name="filter">Applied to input.</param>
    public StreamConsole(Stream output, Stream? input = null, InputFilter? filter = null)
    {
        _output = new OutputPump(output, "serial output");
        _input = input;
        _filter = filter;
    }

    public void Write(ReadOnlySpan<byte> data) => _output.Write(data);

    public void Connect(ICharacterSink sink)
    {
        _writer.Connect(sink);
        if (_input != null)
            new Thread(ReadInput) { IsBackground = true, Name = "serial input" }.Start();
    }

    /// <summary>Returns when everything that the guest sent has reached the output.</summary>
    public void Dispose()
    {
        _writer.Dispose();
        _output.Complete();
    }

    private void ReadInput()
    {
        byte[] buffer = new byte[1024];
        try
        {
            int count;
            while ((count = _input!.Read(buffer)) > 0)
            {
                ReadOnlySpan<byte> passed = _filter == null ? buffer.AsSpan(0, count) : _filter(buffer.AsSpan(0, count));
                if (!passed.IsEmpty && !_writer.Write(passed))
                    return;
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // Input that breaks is input that ended; the guest goes on without it.
        }
    }
}
