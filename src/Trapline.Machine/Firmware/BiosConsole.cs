using System.Globalization;
using System.Text;
using Trapline.Core;

namespace Trapline.Machine.Firmware;

/// <summary>State of the firmware's terminal.</summary>
/// <param name="Keys">Typed and not taken: scan code and character.</param>
internal sealed record BiosConsoleState(ushort[] Keys, byte Mode, byte Row, byte Column, int Escape);

/// <summary>INT 10h, 14h and 16h: a terminal at the first serial port stands for screen and keyboard.</summary>
internal sealed class BiosConsole(PortBus ports, ICharacterBackend? screen)
{
    private const ushort Data = 0x3F8, LineStatus = 0x3FD;
    private const int KeysKept = 64;
    private const byte ExtendedKeyPrefix = 0x1B;

    /// <summary>Scan codes of the ASCII characters from 0x20 on, set 1, US layout.</summary>
    private static ReadOnlySpan<byte> ScanCodes =>
    [
        0x39, 0x02, 0x28, 0x04, 0x05, 0x06, 0x08, 0x28, 0x0A, 0x0B, 0x09, 0x0D, 0x33, 0x0C, 0x34, 0x35,
        0x0B, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x27, 0x27, 0x33, 0x0D, 0x34, 0x35,
        0x03, 0x1E, 0x30, 0x2E, 0x20, 0x12, 0x21, 0x22, 0x23, 0x17, 0x24, 0x25, 0x26, 0x32, 0x31, 0x18,
        0x19, 0x10, 0x13, 0x1F, 0x14, 0x16, 0x2F, 0x11, 0x2D, 0x15, 0x2C, 0x1A, 0x2B, 0x1B, 0x07, 0x0C,
        0x29, 0x1E, 0x30, 0x2E, 0x20, 0x12, 0x21, 0x22, 0x23, 0x17, 0x24, 0x25, 0x26, 0x32, 0x31, 0x18,
        0x19, 0x10, 0x13, 0x1F, 0x14, 0x16, 0x2F, 0x11, 0x2D, 0x15, 0x2C, 0x1A, 0x2B, 0x1B, 0x29, 0x0E,
    ];

    private readonly Queue<ushort> _keys = new(KeysKept);
    private byte _mode = 3, _row, _column;
    private int _escape; // how much of ESC [ x has come

    public BiosConsoleState Save() => new([.. _keys], _mode, _row, _column, _escape);

    public void Restore(BiosConsoleState state)
    {
        _keys.Clear();
        foreach (ushort key in state.Keys.Take(KeysKept))
            _keys.Enqueue(key);
        (_mode, _row, _column, _escape) = (state.Mode, state.Row, state.Column, state.Escape);
    }

    /// <summary>Moves what was typed from the port to the key queue. Called at every tick.</summary>
    public void Collect()
    {
        while (_keys.Count < KeysKept && (In(LineStatus) & 1) != 0 && In(LineStatus) != 0xFF)
            Typed(In(Data));
    }

    public void Video(ref BiosFrame frame)
    {
        switch (frame.Ah)
        {
            case 0x00:
                _mode = (byte)(frame.Al & 0x7F);
                _row = _column = 0;
                Print("\x1b[0m\x1b[2J\x1b[H"u8);
                break;
            case 0x02:
                (_row, _column) = (frame.Dh, frame.Dl);
                MoveCursor();
                break;
            case 0x03:
                frame.Cx = 0x0607;
                frame.Dx = (ushort)((_row << 8) | _column);
                break;
            case 0x06 or 0x07 when frame.Al == 0:
                Print("\x1b[2J"u8);
                MoveCursor();
                break;
            case 0x08:
                frame.Ax = 0x0720;
                break;
            case 0x09 or 0x0A:
                for (int i = 0; i < Math.Min(frame.Cx, (ushort)(80 - Math.Min(_column, (byte)79))); i++)
                    Print([frame.Al]);
                MoveCursor();
                break;
            case 0x0E:
                Teletype(frame.Al);
                break;
            case 0x0F:
                frame.Ax = (ushort)((80 << 8) | _mode);
                frame.Bx = (ushort)(frame.Bl);
                break;
            case 0x13:
                WriteString(ref frame);
                break;
            case 0x4F:
                frame.Ah = 1; // no VESA
                break;
            default:
                break;
        }
    }

    public void Serial(ref BiosFrame frame)
    {
        const byte timeOut = 0x80;
        if (frame.Dx != 0 || In(LineStatus) == 0xFF)
        {
            frame.Ah = timeOut;
            return;
        }
        switch (frame.Ah)
        {
            case 0:
                frame.Ax = (ushort)((In(LineStatus) << 8) | In(LineStatus + 1));
                break;
            case 1:
                ports.Write(0, Data, 1, frame.Al, out _, out _);
                frame.Ah = (byte)(In(LineStatus) & 0x7F);
                break;
            case 2:
                bool there = (In(LineStatus) & 1) != 0;
                if (there)
                    frame.Al = In(Data);
                frame.Ah = there ? (byte)0 : timeOut;
                break;
            case 3:
                frame.Ax = (ushort)((In(LineStatus) << 8) | In(LineStatus + 1));
                break;
            default:
                frame.Ah = timeOut;
                break;
        }
    }

    /// <summary>False: no key yet.</summary>
    public bool Keyboard(ref BiosFrame frame)
    {
        Collect();
        switch (frame.Ah)
        {
            case 0x00 or 0x10:
                if (!_keys.TryDequeue(out ushort key))
                    return false;
                frame.Ax = key;
                break;
            case 0x01 or 0x11:
                frame.Zero = !_keys.TryPeek(out ushort next);
                if (!frame.Zero)
                    frame.Ax = next;
                break;
            case 0x02 or 0x12:
                frame.Al = 0;
                break;
            case 0x05:
                if (_keys.Count < KeysKept)
                    _keys.Enqueue(frame.Cx);
                frame.Al = 0;
                break;
            default:
                break;
        }
        return true;
    }

    private void Typed(byte c)
    {
        // Cursor keys arrive as ESC [ A to D.
        if (_escape == 1 && c == '[')
        {
            _escape = 2;
            return;
        }
        if (_escape == 2)
        {
            _escape = 0;
            byte arrow = c switch { (byte)'A' => 0x48, (byte)'B' => 0x50, (byte)'C' => 0x4D, (byte)'D' => 0x4B, _ => 0 };
            if (arrow != 0)
                _keys.Enqueue((ushort)(arrow << 8));
            return;
        }
        if (_escape == 1)
            _keys.Enqueue(0x011B);
        _escape = c == ExtendedKeyPrefix && (In(LineStatus) & 1) != 0 ? 1 : 0;
        if (_escape != 0)
            return;
        byte scan = c switch
        {
            0x08 or 0x7F => 0x0E,
            0x09 => 0x0F,
            0x0A or 0x0D => 0x1C,
            0x1B => 0x01,
            < 0x20 => ScanCodes[c + 0x40],
            < 0x80 => ScanCodes[c - 0x20],
            _ => 0,
        };
        byte ascii = c switch { 0x7F => 0x08, 0x0A => 0x0D, _ => c };
        _keys.Enqueue((ushort)((scan << 8) | ascii));
    }

    private void Teletype(byte c)
    {
        Print([c]);
        switch (c)
        {
            case 0x07:
                break;
            case 0x08:
                _column = (byte)Math.Max(_column - 1, 0);
                break;
            case 0x0A:
                _row = (byte)Math.Min(_row + 1, 24);
                break;
            case 0x0D:
                _column = 0;
                break;
            default:
                if (++_column >= 80)
                    (_column, _row) = (0, (byte)Math.Min(_row + 1, 24));
                break;
        }
    }

    private void WriteString(ref BiosFrame frame)
    {
        (_row, _column) = (frame.Dh, frame.Dl);
        MoveCursor();
        int step = (frame.Al & 2) != 0 ? 2 : 1; // with attributes between the characters
        Span<byte> one = stackalloc byte[1];
        for (int i = 0; i < frame.Cx && frame.Memory.TryRead(frame.EsBp + (ulong)(i * step), one); i++)
            Teletype(one[0]);
    }

    private void MoveCursor()
    {
        Span<byte> sequence = stackalloc byte[16];
        if (Encoding.UTF8.TryGetBytes(string.Create(CultureInfo.InvariantCulture, $"\x1b[{_row + 1};{_column + 1}H"), sequence, out int length))
            Print(sequence[..length]);
    }

    private void Print(ReadOnlySpan<byte> text) => screen?.Write(text);

    private byte In(int port) => (byte)ports.Read(0, (ushort)port, 1, out _, out _);
}
