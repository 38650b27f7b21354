using System.Buffers.Binary;
using Trapline.Core;

namespace Trapline.Agent;

/// <summary>The host's end of the line to the guest's agent: a back end for the machine's second serial port.</summary>
public sealed class AgentChannel : ICharacterBackend, IDisposable
{
    private readonly Lock _gate = new();
    private readonly LineSender _line = new();
    private readonly FrameDecoder _decoder = new();
    private TaskCompletionSource<bool> _ready = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private RunningProgram? _running;
    private bool _closed;

    /// <summary>True when the agent is there and idle; false when the guest has ended.</summary>
    public Task<bool> Ready
    {
        get
        {
            lock (_gate)
                return _ready.Task;
        }
    }

    /// <summary>Runs a program, one at a time; ends with the program, its output delivered.</summary>
    public async Task<ProgramResult> RunAsync(GuestProgram program)
    {
        if (!await Ready.ConfigureAwait(false))
            return new ProgramResult(ProgramEnd.GuestGone, 0);
        RunningProgram running;
        lock (_gate)
        {
            if (_closed)
                return new ProgramResult(ProgramEnd.GuestGone, 0);
            if (_running != null)
                throw new InvalidOperationException("the guest runs one program at a time");
            running = _running = new RunningProgram(program, _line);
        }
        return await running.Ended.ConfigureAwait(false);
    }

    /// <summary>Sends a signal to the running program's process group.</summary>
    public void Signal(int signal) => _line.Send(Frame.Encode(FrameType.Signal, (byte)signal));

    /// <summary>Tells the guest's console its size.</summary>
    public void Resize(WindowSize window) => _line.Send(Frame.EncodeWindow(window));

    /// <summary>Asks the agent to switch the guest off.</summary>
    public void PowerOff() => _line.Send(Frame.Encode(FrameType.PowerOff));

    /// <summary>The guest has ended: nothing more will come.</summary>
    public void Close()
    {
        RunningProgram? running;
        lock (_gate)
        {
            _closed = true;
            running = _running;
            _running = null;
            _ready.TrySetResult(false);
            _ready = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
            _ready.SetResult(false);
        }
        running?.End(new ProgramResult(ProgramEnd.GuestGone, 0));
    }

    void ICharacterBackend.Connect(ICharacterSink sink) => _line.Connect(sink);

    void ICharacterBackend.Write(ReadOnlySpan<byte> data) => _decoder.Decode(data, Handle);

    public void Dispose()
    {
        Close();
        _line.Dispose();
    }

    private void Handle(FrameType type, ReadOnlySpan<byte> payload)
    {
        switch (type)
        {
            case FrameType.Hello:
                Restart();
                break;
            case FrameType.AcknowledgeLine when payload.Length == 4:
                _line.Acknowledge(BinaryPrimitives.ReadUInt32LittleEndian(payload));
                break;
            default:
                RunningProgram? running;
                lock (_gate)
                {
                    running = _running;
                    if (type == FrameType.Exit)
                        _running = null;
                }
                running?.Handle(type, payload);
                break;
        }
    }

    /// <summary>An agent has come up: the first, or one after a reboot.</summary>
    private void Restart()
    {
        RunningProgram? lost;
        lock (_gate)
        {
            lost = _running;
            _running = null;
            _line.Reset();
            _ready.TrySetResult(true);
        }
        lost?.End(new ProgramResult(ProgramEnd.GuestGone, 0));
    }
}
