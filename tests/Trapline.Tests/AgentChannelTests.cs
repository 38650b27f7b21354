using Trapline.Agent;
using Trapline.Core;

namespace Trapline.Tests;

/// <summary>The host's end of the agent's line against a guest that the test plays.</summary>
public sealed class AgentChannelTests : IDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    private readonly AgentChannel _channel = new();
    private readonly FakeGuest _guest = new();

    public AgentChannelTests()
    {
        ((ICharacterBackend)_channel).Connect(_guest);
    }

    public void Dispose() => _channel.Dispose();

    [Fact]
    public async Task ProgramGetsItsArgumentsAndGivesItsStreamsAndStatus()
    {
        Send(Frame.Encode(FrameType.Hello, 1));
        using MemoryStream output = new();
        using MemoryStream errors = new();
        Task<ProgramResult> run = _channel.RunAsync(VirtualMachine.Program("echo", "a b", "", "ü\n") with { Stdout = output, Stderr = errors });
        await _guest.WaitForAsync(FrameType.StdinEnd, Limit);
        Assert.Equal(["echo", "a b", "", "ü\n"], _guest.Strings(FrameType.Argument, FrameType.ArgumentEnd));
        Assert.Contains("HOME=/root", _guest.Strings(FrameType.Variable, FrameType.VariableEnd));
        Send(Frame.Encode(FrameType.Stdout, "out"u8));
        Send(Frame.Encode(FrameType.Stderr, "err"u8));
        Send(Frame.Encode(FrameType.Exit, 0, 7));
        ProgramResult result = await run.WaitAsync(Limit);
        Assert.Equal(7, result.ExitCode);
        Assert.Equal("out"u8.ToArray(), output.ToArray());
        Assert.Equal("err"u8.ToArray(), errors.ToArray());
    }

    [Fact]
    public async Task SignalBecomesTheShellsStatus()
    {
        Send(Frame.Encode(FrameType.Hello, 1));
        Task<ProgramResult> run = _channel.RunAsync(VirtualMachine.Program("x"));
        await _guest.WaitForAsync(FrameType.StdinEnd, Limit);
        Send(Frame.Encode(FrameType.Exit, 1, 9));
        Assert.Equal(137, (await run.WaitAsync(Limit)).ExitCode);
    }

    [Fact]
    public async Task StdinStaysWithinItsCreditAndArrivesWhole()
    {
        byte[] input = new byte[300_000];
        Random.Shared.NextBytes(input);
        Send(Frame.Encode(FrameType.Hello, 1));
        _guest.Chunk = 5;
        Task<ProgramResult> run = _channel.RunAsync(VirtualMachine.Program("cat") with { Stdin = new MemoryStream(input) });
        long line = 0;
        int taken = 0;
        while (!_guest.Has(FrameType.StdinEnd))
        {
            await _guest.MoreAsync(Limit);
            // The agent of this test acknowledges both kinds of credit as it reads.
            long read = _guest.LineBytes;
            Assert.True(read - line <= Frame.LineWindow, "the line's window was exceeded");
            int received = _guest.PayloadBytes(FrameType.Stdin);
            Assert.True(received - taken <= Frame.StreamWindow, "the stream's window was exceeded");
            Send(Frame.Encode(FrameType.AcknowledgeLine, BitConverter.GetBytes((uint)(read - line))));
            Send(Frame.Encode(FrameType.AcknowledgeStdin, BitConverter.GetBytes((uint)(received - taken))));
            line = read;
            taken = received;
        }
        Assert.Equal(input, _guest.Payload(FrameType.Stdin));
        Send(Frame.Encode(FrameType.Exit, 0, 0));
        await run.WaitAsync(Limit);
    }

    [Fact]
    public async Task OutputIsAcknowledgedSoThatTheGuestGoesOn()
    {
        Send(Frame.Encode(FrameType.Hello, 1));
        using MemoryStream output = new();
        Task<ProgramResult> run = _channel.RunAsync(VirtualMachine.Program("x") with { Stdout = output });
        for (int sent = 0; sent < Frame.StreamWindow; sent += Frame.MaximumPayload)
            Send(Frame.Encode(FrameType.Stdout, new byte[Frame.MaximumPayload]));
        await _guest.WaitForAsync(FrameType.AcknowledgeOutput, Limit);
        Send(Frame.Encode(FrameType.Exit, 0, 0));
        await run.WaitAsync(Limit);
        Assert.Equal(Frame.StreamWindow, output.Length);
    }

    [Fact]
    public async Task OutputThatNobodyReadsIsClosedInTheGuest()
    {
        Send(Frame.Encode(FrameType.Hello, 1));
        using MemoryStream closed = new();
        closed.Close();
        Task<ProgramResult> run = _channel.RunAsync(VirtualMachine.Program("yes") with { Stdout = closed });
        Send(Frame.Encode(FrameType.Stdout, "y\n"u8));
        await _guest.WaitForAsync(FrameType.CloseOutput, Limit);
        Send(Frame.Encode(FrameType.Exit, 1, 13));
        Assert.Equal(141, (await run.WaitAsync(Limit)).ExitCode);
    }

    [Fact]
    public async Task GuestThatRestartsOrEndsTakesTheProgramWithIt()
    {
        Send(Frame.Encode(FrameType.Hello, 1));
        Task<ProgramResult> first = _channel.RunAsync(VirtualMachine.Program("reboot"));
        await _guest.WaitForAsync(FrameType.StdinEnd, Limit);
        Send(Frame.Encode(FrameType.Hello, 1));
        Assert.Equal(ProgramEnd.GuestGone, (await first.WaitAsync(Limit)).End);
        Task<ProgramResult> second = _channel.RunAsync(VirtualMachine.Program("poweroff"));
        _channel.Close();
        Assert.Equal(ProgramEnd.GuestGone, (await second.WaitAsync(Limit)).End);
        Assert.Equal(ProgramEnd.GuestGone, (await _channel.RunAsync(VirtualMachine.Program("late")).WaitAsync(Limit)).End);
    }

    /// <summary>Each program's streams and end are its own, and a number comes back when all that was said about it has been.</summary>
    [Fact]
    public async Task ProgramsRunSideBySide()
    {
        Send(Frame.Encode(FrameType.Hello, 2));
        using MemoryStream first = new(), second = new();
        Task<ProgramResult>[] runs =
        [
            _channel.RunAsync(VirtualMachine.Program("first") with { Stdout = first }),
            _channel.RunAsync(VirtualMachine.Program("second") with { Stdout = second }),
        ];
        while (_guest.Starts.Length < 2)
            await _guest.MoreAsync(Limit);
        Assert.Equal([0, 1], _guest.Starts);
        Send(Frame.About(1, Frame.Encode(FrameType.Stdout, "two"u8)));
        Send(Frame.About(0, Frame.Encode(FrameType.Stdout, "one"u8)));
        Send(Frame.About(1, Frame.Encode(FrameType.Exit, 0, 2)));
        Assert.Equal(2, (await runs[1].WaitAsync(Limit)).ExitCode);
        Assert.False(runs[0].IsCompleted);
        Task<ProgramResult> third = _channel.RunAsync(VirtualMachine.Program("third"));
        while (_guest.Starts.Length < 3)
            await _guest.MoreAsync(Limit);
        Assert.Equal(1, _guest.Starts[2]);
        Send(Frame.About(0, Frame.Encode(FrameType.Exit, 0, 1)));
        Send(Frame.About(1, Frame.Encode(FrameType.Exit, 0, 3)));
        Send(Frame.About(200, Frame.Encode(FrameType.Exit, 0, 9)));
        Assert.Equal((1, 3), ((await runs[0].WaitAsync(Limit)).ExitCode, (await third.WaitAsync(Limit)).ExitCode));
        Assert.Equal(("one", "two"), (System.Text.Encoding.UTF8.GetString(first.ToArray()), System.Text.Encoding.UTF8.GetString(second.ToArray())));
        for (int i = 0; i < Frame.MaximumPrograms; i++)
            Assert.NotNull(await _channel.StartAsync(VirtualMachine.Program("many")));
        await Assert.ThrowsAsync<InvalidOperationException>(() => _channel.RunAsync(VirtualMachine.Program("too many")));
    }

    [Fact]
    public void JunkFromTheGuestIsHarmless()
    {
        Random random = new(3);
        byte[] junk = new byte[300];
        for (int i = 0; i < 2000; i++)
        {
            random.NextBytes(junk);
            Send(junk);
        }
    }

    private void Send(byte[] data) => ((ICharacterBackend)_channel).Write(data);

    /// <summary>A serial port that takes a few bytes at a time and keeps what it got.</summary>
    private sealed class FakeGuest : ICharacterSink
    {
        private readonly Lock _gate = new();
        private readonly List<(FrameType Type, byte Program, byte[] Payload)> _frames = [];
        private readonly FrameDecoder _decoder = new();
        private readonly SemaphoreSlim _arrived = new(0);
        private bool _refuse;
        private long _lineBytes;

        public event Action? RoomAvailable;

        public int Chunk { get; set; } = 16;

        public long LineBytes
        {
            get
            {
                lock (_gate)
                    return _lineBytes;
            }
        }

        public int Receive(ReadOnlySpan<byte> data)
        {
            lock (_gate)
            {
                _refuse = !_refuse;
                if (_refuse)
                {
                    ThreadPool.UnsafeQueueUserWorkItem(_ => RoomAvailable?.Invoke(), null);
                    return 0;
                }
                int taken = Math.Min(data.Length, Chunk * 64);
                _lineBytes += taken;
                _decoder.Decode(data[..taken], (type, program, payload) => _frames.Add((type, program, payload.ToArray())));
                _arrived.Release();
                return taken;
            }
        }

        public bool Has(FrameType type)
        {
            lock (_gate)
                return _frames.Any(f => f.Type == type);
        }

        public async Task WaitForAsync(FrameType type, TimeSpan limit)
        {
            while (!Has(type))
                await MoreAsync(limit);
        }

        public async Task MoreAsync(TimeSpan limit) => Assert.True(await _arrived.WaitAsync(limit), "nothing came from the host");

        public byte[] Payload(FrameType type)
        {
            lock (_gate)
                return [.. _frames.Where(f => f.Type == type).SelectMany(f => f.Payload)];
        }

        /// <summary>The numbers of the programs that were started.</summary>
        public byte[] Starts
        {
            get
            {
                lock (_gate)
                    return [.. _frames.Where(f => f.Type == FrameType.Start).Select(f => f.Program)];
            }
        }

        public int PayloadBytes(FrameType type) => Payload(type).Length;

        public List<string> Strings(FrameType part, FrameType end)
        {
            List<string> strings = [];
            List<byte> current = [];
            lock (_gate)
            {
                foreach ((FrameType type, _, byte[] payload) in _frames)
                {
                    if (type == part)
                        current.AddRange(payload);
                    if (type != end)
                        continue;
                    strings.Add(System.Text.Encoding.UTF8.GetString([.. current]));
                    current.Clear();
                }
            }
            return strings;
        }
    }
}
