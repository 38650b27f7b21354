using Trapline.Core;

namespace Trapline.Devices.Tests;

/// <summary>A clock that moves when the test says so, running the timers that become due.</summary>
internal sealed class ManualClock : IGuestClock
{
    private readonly List<Timer> _timers = [];

    public long Nanoseconds { get; private set; }

    public DateTime Start { get; set; } = new(2024, 2, 28, 23, 59, 50, DateTimeKind.Utc);

    public DateTime UtcNow => Start.AddTicks(Nanoseconds / 100);

    public IClockTimer CreateTimer(Action expired)
    {
        var timer = new Timer(this, expired);
        _timers.Add(timer);
        return timer;
    }

    /// <summary>Moves time on, stopping at each deadline on the way.</summary>
    public void Advance(long nanoseconds)
    {
        long end = Nanoseconds + nanoseconds;
        for (int fired = 0; fired < 1_000_000; fired++)
        {
            Timer? next = _timers.Where(t => t.Deadline <= end).MinBy(t => t.Deadline);
            if (next is null)
                break;
            Nanoseconds = Math.Max(Nanoseconds, next.Deadline);
            next.Fire();
        }
        Nanoseconds = end;
    }

    /// <summary>Moves time without running timers: what the guest sees when the host's timer thread is late.</summary>
    public void Skip(long nanoseconds) => Nanoseconds += nanoseconds;

    public bool AnyArmed => _timers.Any(t => t.Deadline != long.MaxValue);

    private sealed class Timer(ManualClock clock, Action expired) : IClockTimer
    {
        public long Deadline { get; private set; } = long.MaxValue;
        public void Arm(long deadlineNanoseconds) => Deadline = deadlineNanoseconds;
        public void Disarm() => Deadline = long.MaxValue;
        public void Dispose() => clock._timers.Remove(this);

        public void Fire()
        {
            Deadline = long.MaxValue;
            expired();
        }
    }
}

internal sealed class RecordingLine : InterruptLine
{
    public bool Level { get; private set; }
    public int Rises { get; private set; }

    public override void Set(bool level)
    {
        if (level && !Level)
            Rises++;
        Level = level;
    }
}

internal sealed class RecordingVcpu : IVcpuSignals
{
    public int Signals { get; private set; }
    public int Nmis { get; private set; }
    public int Inits { get; private set; }
    public int StartVector { get; private set; } = -1;
    public void InterruptPending() => Signals++;
    public void NonMaskableInterrupt() => Nmis++;
    public void Init() => Inits++;
    public void StartUp(byte vector) => StartVector = vector;
}

internal sealed class RecordingMsiSink : IMsiSink
{
    public int Count { get; private set; }
    public MsiMessage Last { get; private set; }

    public void Send(MsiMessage message)
    {
        Count++;
        Last = message;
    }
}

internal sealed class RecordingBackend : ICharacterBackend
{
    private readonly byte[] _data = new byte[1 << 20];
    private int _length;

    public ICharacterSink? Sink { get; private set; }
    public string Text => System.Text.Encoding.Latin1.GetString(_data, 0, _length);

    public void Write(ReadOnlySpan<byte> data)
    {
        if (_length + data.Length > _data.Length)
            _length = 0;
        data.CopyTo(_data.AsSpan(_length));
        _length += data.Length;
    }

    public void Connect(ICharacterSink sink) => Sink = sink;
}

internal sealed class ArrayMemory(int size) : IGuestMemory
{
    public byte[] Bytes { get; } = new byte[size];

    public bool TryRead(Gpa address, Span<byte> destination)
    {
        if (address.Value > (ulong)Bytes.Length || (ulong)destination.Length > (ulong)Bytes.Length - address.Value)
            return false;
        Bytes.AsSpan((int)address.Value, destination.Length).CopyTo(destination);
        return true;
    }

    public bool TryWrite(Gpa address, ReadOnlySpan<byte> source)
    {
        if (address.Value > (ulong)Bytes.Length || (ulong)source.Length > (ulong)Bytes.Length - address.Value)
            return false;
        source.CopyTo(Bytes.AsSpan((int)address.Value));
        return true;
    }
}
