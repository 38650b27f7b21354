using Trapline.Core;

namespace Trapline.Devices.Debug;

/// <summary>The debug console of Bochs and QEMU, one port (0xE9): bytes written go to a back end; reads return 0xE9 to say it is there.</summary>
public sealed class DebugConsole(ICharacterBackend backend) : ByteWidePorts
{
    protected override byte ReadByte(int offset) => offset == 0 ? (byte)0xE9 : (byte)0xFF;

    protected override void WriteByte(int offset, byte value)
    {
        if (offset != 0)
            return;
        Span<byte> one = [value];
        backend.Write(one);
    }
}

/// <summary>Ends the machine from inside: a write of v (four ports, 0xF4 on test machines) reports the exit status (v &lt;&lt; 1) | 1.</summary>
public sealed class DebugExit(Action<int> exit) : IPortDevice
{
    public uint ReadPort(ushort offset, int size) => 0;

    public void WritePort(ushort offset, int size, uint value)
    {
        uint code = size == 1 ? value & 0xFF : size == 2 ? value & 0xFFFF : value;
        exit((int)((code << 1) | 1));
    }
}

/// <summary>State of the power-on self-test port.</summary>
[SavedState("post-code", 1)]
public sealed record PostCodeState(byte Last);

/// <summary>The power-on self-test code, one port (0x80): remembers the last byte. Guests write it to wait a microsecond.</summary>
public sealed class PostCode : ByteWidePorts, ISavedDevice<PostCodeState>
{
    private volatile byte _last;

    /// <summary>The byte written last.</summary>
    public byte Last => _last;

    public PostCodeState Save() => new(_last);

    public void Restore(PostCodeState state) => _last = state.Last;

    protected override byte ReadByte(int offset) => offset == 0 ? _last : (byte)0xFF;

    protected override void WriteByte(int offset, byte value)
    {
        if (offset == 0)
            _last = value;
    }
}

/// <summary>Guest events that pvpanic reports.</summary>
[Flags]
public enum PanicEvents
{
    None = 0,

    /// <summary>The guest's kernel panicked.</summary>
    Panicked = 1,

    /// <summary>The guest panicked and a crash kernel runs now.</summary>
    CrashLoaded = 2,
}

/// <summary>The pvpanic ISA device, one port (0x505): reads say which events it takes, writes report them.</summary>
public sealed class PvPanic(Action<PanicEvents> report) : ByteWidePorts
{
    private const PanicEvents Supported = PanicEvents.Panicked | PanicEvents.CrashLoaded;

    protected override byte ReadByte(int offset) => offset == 0 ? (byte)Supported : (byte)0xFF;

    protected override void WriteByte(int offset, byte value)
    {
        PanicEvents events = (PanicEvents)value & Supported;
        if (offset == 0 && events != PanicEvents.None)
            report(events);
    }
}
