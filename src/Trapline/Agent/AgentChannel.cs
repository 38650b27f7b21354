using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text.Json;
using Trapline.Core;

namespace Trapline.Agent;

/// <summary>The host's end of the line to the guest's agent: a back end for the machine's second serial port.</summary>
public sealed class AgentChannel : ICharacterBackend, ISavedDevice<BackendState>, IDisposable
{
    /// <summary>Names the protocol in <see cref="BackendState"/>.</summary>
    public const string Protocol = "trapline-agent";

    private const int SeedBytes = 32;

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

    /// <summary>Gives a guest that begins as a copy of another what must be its own: the time of day, and a seed for its random numbers.</summary>
    public void Refresh()
    {
        byte[] seed = RandomNumberGenerator.GetBytes(SeedBytes);
        _line.Send(Frame.EncodeRefresh(DateTime.UtcNow, seed));
        CryptographicOperations.ZeroMemory(seed);
    }

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

    /// <summary>The guest stands, and no input reaches it.</summary>
    BackendState ISavedDevice<BackendState>.Save()
    {
        lock (_gate)
        {
            (byte[] Left, byte[][] Queue, int Unacknowledged) line = ([], [], 0);
            OrphanState? running = null;
            if (_running is null)
                line = _line.Save();
            else
                running = _running.Save(() => line = _line.Save());
            bool isUp = _ready.Task is { IsCompletedSuccessfully: true, Result: true } || running is not null;
            AgentState state = new(1, isUp, _decoder.Begun, line.Left, line.Queue, line.Unacknowledged, running);
            return new BackendState(Protocol, JsonSerializer.SerializeToUtf8Bytes(state, AgentJson.Default.AgentState));
        }
    }

    /// <summary>Takes the place of the host end that saved this. A program that runs goes on without its streams; the next one waits for its end.</summary>
    /// <exception cref="ArgumentException">This is no state of an agent's line.</exception>
    void ISavedDevice<BackendState>.Restore(BackendState saved)
    {
        AgentState state;
        try
        {
            state = JsonSerializer.Deserialize(saved.Content, AgentJson.Default.AgentState) ?? throw new ArgumentException("there is nothing");
        }
        catch (JsonException e)
        {
            throw new ArgumentException(e.Message);
        }
        if (state.Version != 1)
            throw new ArgumentException($"version {state.Version} of the agent's line is not known");
        lock (_gate)
        {
            _decoder.Begun = state.Begun;
            _line.Restore(state.Rest, state.Queue, state.Unacknowledged);
            if (state.Running is { } orphan)
                _running = new RunningProgram(orphan, _line);
            else if (state.IsUp)
                _ready.TrySetResult(true);
        }
    }

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
                    {
                        _running = null;
                        _ready.TrySetResult(true); // was it another host's program, this host has waited for its end
                    }
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
