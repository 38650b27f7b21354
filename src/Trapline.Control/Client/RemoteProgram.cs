using System.Buffers.Binary;
using System.Text;
using Trapline.Agent;
using Trapline.Control.Api;

namespace Trapline.Control.Client;

/// <summary>A program that runs in the guest of another process, seen from here.</summary>
public sealed class RemoteProgram : IDisposable
{
    private readonly GuestProgram _program;
    private readonly Stream _connection;
    private readonly SemaphoreSlim _turn = new(1);
    private readonly SemaphoreSlim _credit = new(0);
    private int _inFlight;
    private volatile bool _over;
    private ProgramResult _result = new(ProgramEnd.GuestGone, 0);

    /// <param name="program">What to run, with pipes or in a terminal of its own.</param>
    /// <param name="connection">Speaks <see cref="ExecProtocol"/>; owned from here on.</param>
    internal RemoteProgram(GuestProgram program, Stream connection)
    {
        _program = program;
        _connection = connection;
        Ended = RunAsync();
    }

    /// <summary>Ends with the program, its output delivered. Never faults: <see cref="ProgramEnd.GuestGone"/> says that the connection broke, too.</summary>
    public Task<ProgramResult> Ended { get; }

    /// <summary>Sends a signal to the program's process group.</summary>
    public Task SignalAsync(int signal) => TrySendAsync(Frame.Encode(FrameType.Signal, (byte)signal));

    /// <summary>Tells the program's terminal its size.</summary>
    public Task ResizeAsync(WindowSize window) => TrySendAsync(Frame.EncodeWindow(window));

    /// <summary>Closes the connection; the program, if it still runs, is ended by the other side.</summary>
    public void Dispose()
    {
        _over = true;
        _credit.Release();
        _connection.Dispose();
    }

    private async Task<ProgramResult> RunAsync()
    {
        foreach (ReadOnlyMemory<byte> argument in _program.Arguments)
            await TrySendAsync([.. Frame.EncodeString(FrameType.Argument, FrameType.ArgumentEnd, argument).SelectMany(f => f)]).ConfigureAwait(false);
        foreach (string variable in _program.Environment)
            await TrySendAsync([.. Frame.EncodeString(FrameType.Variable, FrameType.VariableEnd, Encoding.UTF8.GetBytes(variable)).SelectMany(f => f)]).ConfigureAwait(false);
        await TrySendAsync(Frame.EncodeStart(_program.Place, _program.Window)).ConfigureAwait(false);
        if (_program.Stdin is { } stdin)
            new Thread(() => ReadStdin(stdin)) { IsBackground = true, Name = "stdin" }.Start();
        else
            await TrySendAsync(Frame.Encode(FrameType.StdinEnd)).ConfigureAwait(false);
        FrameDecoder decoder = new();
        byte[] buffer = new byte[8192];
        try
        {
            int count;
            while ((count = await _connection.ReadAsync(buffer).ConfigureAwait(false)) > 0)
                decoder.Decode(buffer.AsSpan(0, count), Handle);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // The result says so: there was no Exit.
        }
        _over = true;
        _credit.Release();
        return _result;
    }

    private void Handle(FrameType type, byte program, ReadOnlySpan<byte> payload)
    {
        switch (type)
        {
            case FrameType.Stdout:
                Deliver(_program.Stdout, 1, payload);
                break;
            case FrameType.Stderr:
                Deliver(_program.Stderr, 2, payload);
                break;
            case FrameType.AcknowledgeStdin when payload.Length == 4:
                Interlocked.Add(ref _inFlight, -(int)BinaryPrimitives.ReadUInt32LittleEndian(payload));
                _credit.Release();
                break;
            case FrameType.Exit when payload.Length == 2:
                _result = new ProgramResult(payload[0] != 0 ? ProgramEnd.Signalled : ProgramEnd.Exited, payload[1]);
                break;
        }
    }

    private void Deliver(Stream stream, byte number, ReadOnlySpan<byte> data)
    {
        try
        {
            stream.Write(data);
            stream.Flush();
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // Nobody reads here: the program learns it as from a closed pipe.
            _ = TrySendAsync(Frame.Encode(FrameType.CloseOutput, number));
        }
    }

    private void ReadStdin(Stream stdin)
    {
        byte[] buffer = new byte[Frame.MaximumPayload];
        try
        {
            while (!_over)
            {
                int count = stdin.Read(buffer);
                if (count <= 0)
                    break;
                while (!_over && Volatile.Read(ref _inFlight) + count > Frame.StreamWindow)
                    _credit.Wait();
                Interlocked.Add(ref _inFlight, count);
                TrySendAsync(Frame.Encode(FrameType.Stdin, buffer.AsSpan(0, count))).GetAwaiter().GetResult();
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or UnauthorizedAccessException)
        {
            // Input that breaks is input that ended.
        }
        TrySendAsync(Frame.Encode(FrameType.StdinEnd)).GetAwaiter().GetResult();
    }

    /// <summary>A connection that is gone shows when it is read.</summary>
    private async Task TrySendAsync(byte[] frames)
    {
        await _turn.WaitAsync().ConfigureAwait(false);
        try
        {
            await _connection.WriteAsync(frames).ConfigureAwait(false);
            await _connection.FlushAsync().ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
        }
        finally
        {
            _turn.Release();
        }
    }
}
