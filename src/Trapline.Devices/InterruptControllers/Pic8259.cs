using System.Numerics;
using Trapline.Core;

namespace Trapline.Devices.InterruptControllers;

/// <summary>State of one 8259A.</summary>
[SavedState("pic8259", 1)]
public sealed record Pic8259State(
    byte Lines, byte Irr, byte Imr, byte Isr, byte Elcr, byte VectorBase, byte HighestPriority, byte InitStep,
    bool NeedsIcw4, bool Single, bool ReadIsr, bool Poll, bool AutoEoi, bool RotateOnAutoEoi, bool SpecialMask, bool SpecialFullyNested);

/// <summary>One 8259A interrupt controller: registers and priority resolution (Intel 8259A datasheet, order 231468).</summary>
/// <remarks>Not locked and not wired: <see cref="PicPair"/> does both.</remarks>
internal sealed class Pic8259(byte elcrMask, bool isMaster)
{
    private byte _lines, _irr, _imr, _isr, _elcr, _vectorBase;
    private byte _highestPriority; // the input that has priority 0 now
    private byte _initStep;        // 0 = ready, else the ICW expected next (2, 3, 4)
    private bool _needsIcw4, _single, _readIsr, _poll;
    private bool _autoEoi, _rotateOnAutoEoi, _specialMask, _specialFullyNested;

    public byte Elcr => _elcr;

    public void WriteElcr(byte value)
    {
        _elcr = (byte)(value & elcrMask);
        // A level input's request is its line.
        _irr = (byte)((_irr & ~_elcr) | (_lines & _elcr));
    }

    public void Reset()
    {
        _irr = _imr = _isr = _elcr = _vectorBase = _highestPriority = _initStep = 0;
        _needsIcw4 = _single = _readIsr = _poll = false;
        _autoEoi = _rotateOnAutoEoi = _specialMask = _specialFullyNested = false;
    }

    /// <summary>An edge stays requested when its line falls before INTA, so that pulses are not lost.</summary>
    public void SetLine(int input, bool level)
    {
        byte bit = (byte)(1 << input);
        if (level)
        {
            if ((_elcr & bit) != 0 || (_lines & bit) == 0)
                _irr |= bit;
            _lines |= bit;
        }
        else
        {
            _lines &= (byte)~bit;
            if ((_elcr & bit) != 0)
                _irr &= (byte)~bit;
        }
    }

    /// <summary>The slave's INT output behaves as a level at the master, whatever ELCR says.</summary>
    public void SetCascade(bool level)
    {
        _lines = (byte)(level ? _lines | 4 : _lines & ~4);
        _irr = (byte)(level ? _irr | 4 : _irr & ~4);
    }

    /// <summary>The input to be served next, or -1.</summary>
    public int Pending
    {
        get
        {
            byte requests = (byte)(_irr & ~_imr);
            if (requests == 0)
                return -1;
            int blocking = _isr;
            if (_specialMask)
                blocking &= ~_imr;
            if (isMaster && _specialFullyNested)
                blocking &= ~4;
            int first = Priority(requests);
            if (first >= Priority((byte)blocking))
                return -1;
            return (first + _highestPriority) & 7;
        }
    }

    /// <summary>INTA: moves the request into service. Returns the input, or -1 when the request went away (spurious).</summary>
    public int Accept()
    {
        int input = Pending;
        if (input < 0)
            return -1;
        byte bit = (byte)(1 << input);
        if ((_elcr & bit) == 0 && !(isMaster && input == 2))
            _irr &= (byte)~bit;
        if (!_autoEoi)
            _isr |= bit;
        else if (_rotateOnAutoEoi)
            _highestPriority = (byte)((input + 1) & 7);
        return input;
    }

    public byte Vector(int input) => (byte)(_vectorBase + input);

    public byte Read(int offset, out bool acknowledged)
    {
        acknowledged = false;
        if (_poll)
        {
            // Datasheet "Poll Command": the next read is an INTA; bit 7 says whether there was a request.
            _poll = false;
            int input = Accept();
            acknowledged = input >= 0;
            return input < 0 ? (byte)7 : (byte)(0x80 | input);
        }
        if (offset == 1)
            return _imr;
        return _readIsr ? _isr : _irr;
    }

    public void Write(int offset, byte value)
    {
        if (offset == 0)
        {
            if ((value & 0x10) != 0)
                WriteIcw1(value);
            else if ((value & 0x08) != 0)
                WriteOcw3(value);
            else
                WriteOcw2(value);
            return;
        }
        switch (_initStep)
        {
            case 0:
                _imr = value;
                break;
            case 2:
                _vectorBase = (byte)(value & 0xF8);
                _initStep = !_single ? (byte)3 : _needsIcw4 ? (byte)4 : (byte)0;
                break;
            case 3:
                _initStep = _needsIcw4 ? (byte)4 : (byte)0; // the cascade wiring is fixed
                break;
            default:
                _autoEoi = (value & 2) != 0;
                _specialFullyNested = (value & 0x10) != 0;
                _initStep = 0;
                break;
        }
    }

    private void WriteIcw1(byte value)
    {
        _needsIcw4 = (value & 1) != 0;
        _single = (value & 2) != 0;
        _imr = _isr = _highestPriority = 0;
        _irr = (byte)(_lines & _elcr); // edge latches are cleared
        if (isMaster)
            _irr |= (byte)(_lines & 4);
        _readIsr = _poll = _specialMask = _specialFullyNested = _autoEoi = _rotateOnAutoEoi = false;
        _initStep = 2;
    }

    private void WriteOcw3(byte value)
    {
        if ((value & 4) != 0)
            _poll = true;
        if ((value & 2) != 0)
            _readIsr = (value & 1) != 0;
        if ((value & 0x40) != 0)
            _specialMask = (value & 0x20) != 0;
    }

    private void WriteOcw2(byte value)
    {
        int level = value & 7;
        switch (value >> 5)
        {
            case 0: _rotateOnAutoEoi = false; break;
            case 4: _rotateOnAutoEoi = true; break;
            case 1: EndOfInterrupt(HighestInService(), rotate: false); break;
            case 5: EndOfInterrupt(HighestInService(), rotate: true); break;
            case 3: EndOfInterrupt(level, rotate: false); break;
            case 7: EndOfInterrupt(level, rotate: true); break;
            case 6: _highestPriority = (byte)((level + 1) & 7); break;
            default: break; // 2: no operation
        }
    }

    private int HighestInService()
    {
        int inService = _specialMask ? _isr & ~_imr : _isr;
        int priority = Priority((byte)inService);
        return priority == 8 ? -1 : (priority + _highestPriority) & 7;
    }

    private void EndOfInterrupt(int input, bool rotate)
    {
        if (input < 0)
            return;
        _isr &= (byte)~(1 << input);
        if (rotate)
            _highestPriority = (byte)((input + 1) & 7);
    }

    /// <summary>Rank (0 = first) of the most urgent bit of <paramref name="mask"/>, 8 if there is none.</summary>
    private int Priority(byte mask)
    {
        if (mask == 0)
            return 8;
        uint doubled = (uint)(mask | (mask << 8));
        return BitOperations.TrailingZeroCount((doubled >> _highestPriority) & 0xFF);
    }

    public Pic8259State Save() => new(_lines, _irr, _imr, _isr, _elcr, _vectorBase, _highestPriority, _initStep,
        _needsIcw4, _single, _readIsr, _poll, _autoEoi, _rotateOnAutoEoi, _specialMask, _specialFullyNested);

    public void Restore(Pic8259State s)
    {
        (_lines, _irr, _imr, _isr, _elcr, _vectorBase) = (s.Lines, s.Irr, s.Imr, s.Isr, (byte)(s.Elcr & elcrMask), s.VectorBase);
        (_highestPriority, _initStep) = ((byte)(s.HighestPriority & 7), s.InitStep);
        (_needsIcw4, _single, _readIsr, _poll) = (s.NeedsIcw4, s.Single, s.ReadIsr, s.Poll);
        (_autoEoi, _rotateOnAutoEoi, _specialMask, _specialFullyNested) =
            (s.AutoEoi, s.RotateOnAutoEoi, s.SpecialMask, s.SpecialFullyNested);
    }
}
