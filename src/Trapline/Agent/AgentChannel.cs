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

    /// <summary>Of <see cref="AgentState"/>; 1 was of an agent that ran one program at a time.</summary>
    private const int StateVersion = 2;

    private readonly Lock _gate = new();
    private readonly LineSender _line = new();
    private readonly FrameDecoder _decoder = new();
    private readonly RunningProgram?[] _programs = new RunningProgram?[Frame.MaximumPrograms];
    private TaskCompletionSource<bool> _ready = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private bool _closed;

    /// <summary>True when the agent is there; false when the guest has ended.</summary>
    public Task<bool> Ready
    {
        get
        {
            lock (_gate)
                return _ready.Task;
        }
    }

    /// <summary>Starts a program when the agent is there; null if the guest ends first.</summary>
    /// <exception cref="InvalidOperationException">The guest runs as many as it can.</exception>
    public async Task<IGuestProcess?> StartAsync(GuestProgram program)
    {
        if (!await Ready.ConfigureAwait(false))
            return null;
        lock (_gate)
        {
            if (_closed)
                return null;
            int number = Array.IndexOf(_programs, null);
            if (number < 0)
                throw new InvalidOperationException($"the guest runs {Frame.MaximumPrograms} programs already, and no more at once");
            // The frames that describe it are in the line's queue before those of the next one.
            return _programs[number] = new RunningProgram(program, (byte)number, _line, Forget);
        }
    }

    /// <summary>Starts a program and ends with it, its output delivered.</summary>
    /// <exception cref="InvalidOperationException">The guest runs as many as it can.</exception>
    public async Task<ProgramResult> RunAsync(GuestProgram program) =>
        await StartAsync(program).ConfigureAwait(false) is { } process
            ? await process.Ended.ConfigureAwait(false)
            : new ProgramResult(ProgramEnd.GuestGone, 0);

    /// <summary>Gives a guest that begins as a copy of another what must be its own: the time of day, and a seed for its random numbers.</summary>
    public void Refresh()
    {
        byte[] seed = RandomNumberGenerator.GetBytes(SeedBytes);
        _line.Send(Frame.EncodeRefresh(DateTime.UtcNow, seed));
        CryptographicOperations.ZeroMemory(seed);
    }

    /// <summary>Has the drivers of network cards that have another address than they use take that one.</summary>
    public void ChangeAddresses(IEnumerable<(MacAddress Driver, MacAddress Card)> cards)
    {
        Span<byte> both = stackalloc byte[2 * MacAddress.Length];
        foreach ((MacAddress driver, MacAddress card) in cards.Where(c => c.Driver != c.Card))
        {
            driver.Write(both);
            card.Write(both[MacAddress.Length..]);
            _line.Send(Frame.Encode(FrameType.ChangeAddress, both));
        }
    }

    /// <summary>Asks the agent to switch the guest off.</summary>
    public void PowerOff() => _line.Send(Frame.Encode(FrameType.PowerOff));

    /// <summary>The guest has ended: nothing more will come.</summary>
    public void Close()
    {
        RunningProgram[] lost;
        lock (_gate)
        {
            _closed = true;
            lost = [.. _programs.OfType<RunningProgram>()];
            _ready.TrySetResult(false);
            _ready = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
            _ready.SetResult(false);
        }
        Lose(lost);
    }

    void ICharacterBackend.Connect(ICharacterSink sink) => _line.Connect(sink);

    void ICharacterBackend.Write(ReadOnlySpan<byte> data) => _decoder.Decode(data, Handle);

    /// <summary>The guest stands, and no input reaches it.</summary>
    BackendState ISavedDevice<BackendState>.Save()
    {
        lock (_gate)
        {
            RunningProgram[] running = [.. _programs.OfType<RunningProgram>()];
            foreach (RunningProgram program in running)
                program.Gate.Enter();
            try
            {
                (byte[] left, byte[][] queue, int unacknowledged) = _line.Save();
                bool isUp = _ready.Task is { IsCompletedSuccessfully: true, Result: true };
                AgentState state = new(StateVersion, isUp, _decoder.Begun, left, queue, unacknowledged, [.. running.Select(p => p.Save())]);
                return new BackendState(Protocol, JsonSerializer.SerializeToUtf8Bytes(state, AgentJson.Default.AgentState));
            }
            finally
            {
                foreach (RunningProgram program in running)
                    program.Gate.Exit();
            }
        }
    }

    /// <summary>Takes the place of the host end that saved this. Programs that run go on without their streams.</summary>
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
        if (state.Running.Any(r => r.Number >= Frame.MaximumPrograms) || state.Running.DistinctBy(r => r.Number).Count() != state.Running.Length)
            throw new ArgumentException("two programs of the agent's line have one number, or one has none");
        if (state.Version != StateVersion)
            throw new ArgumentException($"version {state.Version} of the agent's line is not known");
        lock (_gate)
        {
            _decoder.Begun = state.Begun;
            _line.Restore(state.Rest, state.Queue, state.Unacknowledged);
            foreach (OrphanState orphan in state.Running)
                _programs[orphan.Number] = new RunningProgram(orphan, _line, Forget);
            if (state.IsUp)
                _ready.TrySetResult(true);
        }
    }

    public void Dispose()
    {
        Close();
        _line.Dispose();
    }

    private void Handle(FrameType type, byte number, ReadOnlySpan<byte> payload)
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
                RunningProgram? running = null;
                lock (_gate)
                {
                    if (number < _programs.Length)
                        running = _programs[number];
                }
                running?.Handle(type, payload);
                break;
        }
    }

    /// <summary>An agent has come up: the first, or one after a reboot.</summary>
    private void Restart()
    {
        RunningProgram[] lost;
        lock (_gate)
        {
            lost = [.. _programs.OfType<RunningProgram>()];
            _line.Reset();
            _ready.TrySetResult(true);
        }
        Lose(lost);
    }

    /// <summary>The guest does not know them any more. Their numbers come back when their output has gone where it should.</summary>
    private static void Lose(RunningProgram[] programs)
    {
        foreach (RunningProgram program in programs)
            program.End(new ProgramResult(ProgramEnd.GuestGone, 0));
    }

    private void Forget(RunningProgram program)
    {
        lock (_gate)
        {
            if (_programs[program.Number] == program)
                _programs[program.Number] = null;
        }
    }
}
