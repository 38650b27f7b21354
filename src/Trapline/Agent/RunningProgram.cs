using Trapline.Consoles;

namespace Trapline.Agent;

/// <summary>The host's side of a program that runs in the guest: its streams, their credit and its end.</summary>
internal sealed class RunningProgram : IGuestProcess
{
    private readonly LineSender _line;
    private readonly byte _number;
    private readonly Action<RunningProgram> _over;
    private readonly OutputPump _stdout;
    private readonly OutputPump _stderr;
    private readonly Lock _gate = new();
    private readonly long[] _unacknowledged = new long[3];
    private readonly SemaphoreSlim _credit = new(0);
    private readonly TaskCompletionSource<ProgramResult> _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _stdinInFlight;
    private volatile bool _stdinClosed;
    private bool _stdinEnded;
    private bool _silent;

    /// <param name="number">The program's, which nobody else has before <paramref name="over"/> is called.</param>
    /// <param name="over">Nothing more is sent about it.</param>
    public RunningProgram(GuestProgram program, byte number, LineSender line, Action<RunningProgram> over)
        : this(line, number, program, over) => Start(program);

    /// <summary>
    /// A program that was started by the host of another machine, of which this one is a copy: its output goes nowhere, its input ends.
    /// </summary>
    public RunningProgram(OrphanState orphan, LineSender line, Action<RunningProgram> over)
        : this(line, orphan.Number, new GuestProgram { Arguments = [] }, over)
    {
        for (int stream = 1; stream <= 2; stream++)
        {
            uint count = stream == 1 ? orphan.StdoutUnacknowledged : orphan.StderrUnacknowledged;
            if (count > 0)
                Send(Frame.EncodeOutputAcknowledgement(stream, count));
        }
        if (!orphan.StdinEnded)
            EndStdin();
    }

    private RunningProgram(LineSender line, byte number, GuestProgram program, Action<RunningProgram> over)
    {
        (_line, _number, _over) = (line, number, over);
        _stdout = Output(program.Stdout, 1);
        _stderr = Output(program.Stderr, 2);
    }

    /// <summary>Held by whoever saves several programs and their line at one moment: nothing that counts is sent in between.</summary>
    public Lock Gate => _gate;

    /// <summary>What whoever takes over must know; with <see cref="Gate"/> held.</summary>
    public OrphanState Save() => new(_number, (uint)_unacknowledged[1], (uint)_unacknowledged[2], _stdinEnded);

    public byte Number => _number;

    public Task<ProgramResult> Ended => _ended.Task;

    public void Signal(int signal) => Send(Frame.Encode(FrameType.Signal, (byte)signal));

    public void Resize(WindowSize window) => Send(Frame.EncodeWindow(window));

    /// <summary>Takes a frame about this program, on a vCPU's thread.</summary>
    public void Handle(FrameType type, ReadOnlySpan<byte> payload)
    {
        switch (type)
        {
            case FrameType.Stdout:
                Count(1, payload.Length);
                _stdout.Write(payload);
                break;
            case FrameType.Stderr:
                Count(2, payload.Length);
                _stderr.Write(payload);
                break;
            case FrameType.AcknowledgeStdin when payload.Length == 4:
                Interlocked.Add(ref _stdinInFlight, -(int)BitConverter.ToUInt32(payload));
                _credit.Release();
                break;
            case FrameType.StdinClosed:
                _stdinClosed = true;
                _credit.Release();
                break;
            case FrameType.Exit when payload.Length == 2:
                End(new ProgramResult(payload[0] != 0 ? ProgramEnd.Signalled : ProgramEnd.Exited, payload[1]));
                break;
        }
    }

    public void End(ProgramResult result)
    {
        _stdinClosed = true;
        _credit.Release();
        // Not on this thread: it may be a vCPU's, and the streams may be slow.
        ThreadPool.QueueUserWorkItem(_ =>
        {
            _stdout.Complete();
            _stderr.Complete();
            lock (_gate)
                _silent = true;
            _over(this);
            _ended.TrySetResult(result);
        });
    }

    private OutputPump Output(Stream stream, int number)
    {
        uint pending = 0;
        return new OutputPump(stream, number == 1 ? "guest stdout" : "guest stderr",
            written: count =>
            {
                pending += (uint)count;
                if (pending < Frame.StreamWindow / 4)
                    return;
                lock (_gate)
                {
                    Send(Frame.EncodeOutputAcknowledgement(number, pending));
                    _unacknowledged[number] -= pending;
                }
                pending = 0;
            },
            broken: () => Send(Frame.Encode(FrameType.CloseOutput, (byte)number)));
    }

    private void Start(GuestProgram program)
    {
        foreach (ReadOnlyMemory<byte> argument in program.Arguments)
            SendAll(Frame.EncodeString(FrameType.Argument, FrameType.ArgumentEnd, argument));
        foreach (byte[] variable in GuestEnvironment.Complete(program.Environment))
            SendAll(Frame.EncodeString(FrameType.Variable, FrameType.VariableEnd, variable));
        Send(Frame.EncodeStart(program.Place, program.Window));
        if (program.Place == ProgramPlace.Console)
            return;
        if (program.Stdin is { } stdin)
            new Thread(() => ReadStdin(stdin)) { IsBackground = true, Name = "guest stdin" }.Start();
        else
            EndStdin();
    }

    private void Count(int stream, int bytes)
    {
        lock (_gate)
            _unacknowledged[stream] += bytes;
    }

    private void EndStdin()
    {
        lock (_gate)
        {
            Send(Frame.Encode(FrameType.StdinEnd));
            _stdinEnded = true;
        }
    }

    private void SendAll(IEnumerable<byte[]> frames)
    {
        foreach (byte[] frame in frames)
            Send(frame);
    }

    private void Send(byte[] frame)
    {
        lock (_gate)
        {
            // A late word would be about the next program of this number.
            if (!_silent)
                _line.Send(Frame.About(_number, frame));
        }
    }

    private void ReadStdin(Stream stdin)
    {
        byte[] buffer = new byte[2048];
        try
        {
            while (!_stdinClosed)
            {
                int count = stdin.Read(buffer);
                if (count <= 0)
                    break;
                while (!_stdinClosed && Volatile.Read(ref _stdinInFlight) + count > Frame.StreamWindow)
                    _credit.Wait();
                Interlocked.Add(ref _stdinInFlight, count);
                if (!_stdinClosed)
                    Send(Frame.Encode(FrameType.Stdin, buffer.AsSpan(0, count)));
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or UnauthorizedAccessException)
        {
            // Input that breaks is input that ended.
        }
        if (!_stdinClosed)
            EndStdin();
    }
}
