using System.Text;
using Trapline.Agent;
using Trapline.Control.Api;

namespace Trapline.Control.Server;

/// <summary>One program for one client, on a connection that speaks <see cref="ExecProtocol"/>.</summary>
internal sealed class ExecSession(IGuestPrograms programs, Stream connection)
{
    private const int Hangup = 1, Kill = 9, LastSignal = 64;

    /// <summary>Between the hint that the client is gone and the end.</summary>
    private static readonly TimeSpan HangupPatience = TimeSpan.FromSeconds(2);

    private readonly TaskCompletionSource _started = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly List<ReadOnlyMemory<byte>> _arguments = [];
    private readonly List<string> _variables = [];
    private readonly List<byte> _string = [];
    private int _stringBytes;
    private bool _broken;
    private ProgramPlace _place;
    private WindowSize _window;

    /// <summary>What comes for a program that is being started waits for it.</summary>
    private readonly TaskCompletionSource<IGuestProcess?> _process = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private ExecInput? _input;
    private ExecOutput? _output, _errors;

    /// <summary>Ends with the program, or soon after the client.</summary>
    public async Task RunAsync(CancellationToken aborted)
    {
        ExecWriter writer = new(connection, aborted);
        using ExecInput input = _input = new(writer);
        using ExecOutput output = _output = new(writer, FrameType.Stdout);
        using ExecOutput errors = _errors = new(writer, FrameType.Stderr);
        Task reading = ReadAsync(aborted);
        await Task.WhenAny(reading, _started.Task).ConfigureAwait(false);
        if (!_started.Task.IsCompleted)
            return;
        IGuestProcess? process = await programs.StartAsync(new GuestProgram
        {
            Arguments = _arguments,
            Environment = _variables,
            Place = _place,
            Window = _window,
            Stdin = input,
            Stdout = output,
            Stderr = errors,
        }).ConfigureAwait(false);
        _process.SetResult(process);
        if (process == null)
            return;
        if (await Task.WhenAny(process.Ended, reading).ConfigureAwait(false) == reading)
            await TakeAlongAsync(process).ConfigureAwait(false);
        ProgramResult result = await process.Ended.ConfigureAwait(false);
        input.End();
        if (result.End != ProgramEnd.GuestGone && !aborted.IsCancellationRequested)
            await writer.SendAsync(Frame.Encode(FrameType.Exit, result.End == ProgramEnd.Signalled ? (byte)1 : (byte)0, (byte)result.Value)).ConfigureAwait(false);
    }

    /// <summary>The client is gone: its program goes too, as on a terminal that hangs up.</summary>
    private async Task TakeAlongAsync(IGuestProcess process)
    {
        _input!.End();
        _output!.Refuse();
        _errors!.Refuse();
        process.Signal(Hangup);
        if (await Task.WhenAny(process.Ended, Task.Delay(HangupPatience)).ConfigureAwait(false) != process.Ended)
            process.Signal(Kill);
    }

    /// <summary>Ends when the client has closed, or says what makes no sense.</summary>
    private async Task ReadAsync(CancellationToken aborted)
    {
        FrameDecoder decoder = new();
        byte[] buffer = new byte[8192];
        try
        {
            while (!_broken)
            {
                int count = await connection.ReadAsync(buffer, aborted).ConfigureAwait(false);
                if (count == 0)
                    return;
                decoder.Decode(buffer.AsSpan(0, count), Handle);
            }
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            // Gone is gone, however it went.
        }
    }

    private void Handle(FrameType type, byte program, ReadOnlySpan<byte> payload)
    {
        bool started = _started.Task.IsCompleted;
        switch (program == 0 ? type : default)
        {
            case FrameType.Argument or FrameType.Variable when !started && (_stringBytes += payload.Length) <= ExecProtocol.MaximumStrings:
                _string.AddRange(payload);
                break;
            case FrameType.ArgumentEnd when !started && ++_stringBytes <= ExecProtocol.MaximumStrings:
                _arguments.Add(TakeString());
                break;
            case FrameType.VariableEnd when !started && ++_stringBytes <= ExecProtocol.MaximumStrings:
                _variables.Add(Encoding.UTF8.GetString(TakeString()));
                break;
            case FrameType.Start when !started && _arguments.Count > 0 && payload is [(byte)ProgramPlace.Pipes or (byte)ProgramPlace.Terminal, _, _, _, _]:
                (_place, _window) = ((ProgramPlace)payload[0], Frame.DecodeWindow(payload[1..]));
                _started.TrySetResult();
                break;
            case FrameType.Stdin when started && _input!.TryFill(payload):
                break;
            case FrameType.StdinEnd when started:
                _input!.End();
                break;
            case FrameType.Signal when started && payload is [> 0 and <= LastSignal]:
                byte signal = payload[0];
                Tell(process => process.Signal(signal));
                break;
            case FrameType.Window when started && payload.Length == 4:
                WindowSize window = Frame.DecodeWindow(payload);
                Tell(process => process.Resize(window));
                break;
            case FrameType.CloseOutput when started && payload is [1]:
                _output!.Refuse();
                break;
            case FrameType.CloseOutput when started && payload is [2]:
                _errors!.Refuse();
                break;
            default:
                _broken = true;
                break;
        }
    }

    private async void Tell(Action<IGuestProcess> what)
    {
        if (await _process.Task.ConfigureAwait(false) is { } process)
            what(process);
    }

    private byte[] TakeString()
    {
        byte[] all = [.. _string];
        _string.Clear();
        return all;
    }
}
