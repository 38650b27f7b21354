using Iced.Intel;
using Trapline.Cpu.Translator.Emit;

namespace Trapline.Cpu.Translator.Frontend;

/// <summary>
/// Reads an extended block: straight on through forward conditional jumps, up to an unconditional transfer, a backward jump (checks hoisted to the
/// block's start must not land inside a loop), an instruction for the interpreter, or the page's end.
/// </summary>
public sealed unsafe class BlockReader
{
    private readonly PointerCodeReader _reader = new();
    private readonly Iced.Intel.Decoder _decoder64;
    private readonly Iced.Intel.Decoder _decoder32;

    public BlockReader()
    {
        _decoder64 = Iced.Intel.Decoder.Create(64, _reader, DecoderOptions.None);
        _decoder32 = Iced.Intel.Decoder.Create(32, _reader, DecoderOptions.None);
    }

    private Iced.Intel.Decoder Start(byte* code, int length, ulong rip, bool code32)
    {
        _reader.Start(code, length);
        Iced.Intel.Decoder decoder = code32 ? _decoder32 : _decoder64;
        decoder.IP = rip;
        return decoder;
    }

    /// <param name="code">The first byte; <paramref name="length"/> bytes remain in the page.</param>
    /// <param name="rules">What this mode leaves to the interpreter.</param>
    public void Read(byte* code, int length, ulong rip, int maxInstructions, in ModeRules rules, GuestBlock block)
    {
        Iced.Intel.Decoder decoder = Start(code, length, rip, rules.Code32);
        Begin(block, rules);
        int limit = Math.Min(maxInstructions, GuestBlock.MaxInstructions);
        while (block.Count < limit)
        {
            if (_reader.AtEnd)
                break;
            ref GuestInstruction i = ref block.Instructions[block.Count];
            i = default;
            decoder.Decode(out i.Iced);
            if (i.Iced.IsInvalid && decoder.LastError == DecoderError.NoMoreBytes)
            {
                block.EndsAtPage = true;
                return;
            }
            i.Facts = CodeFacts.Of(i.Iced);
            i.Offset = block.Bytes;
            i.Treatment = OriginalBytes.IsOrderly(code + i.Offset, i.Length, i.Facts, rules.Code32) ? rules.Judge(i) : Treatment.Interpret;
            block.Count++;
            block.Bytes += i.Length;
            switch (i.Treatment)
            {
                case Treatment.Interpret or Treatment.Call or Treatment.Return or Treatment.Jump:
                    return;
                case Treatment.ConditionalJump or Treatment.CountJump when i.Iced.NearBranchTarget <= i.Rip:
                    return;
            }
        }
    }

    /// <summary>
    /// Reads instructions of one page in the order in which they were executed. Conditional jumps that were taken are turned round, so that what was executed
    /// next follows each, and jumps disappear.
    /// </summary>
    /// <param name="page">The page's first byte.</param>
    /// <param name="path">Their addresses.</param>
    /// <param name="then">What follows the last: the first again, or for fuzzers any other.</param>
    /// <returns>False: one of them cannot be part of a loop.</returns>
    public bool ReadLoop(byte* page, ReadOnlySpan<ulong> path, ulong then, in ModeRules rules, GuestBlock block)
    {
        Begin(block, rules);
        block.IsLoop = true;
        block.Then = then;
        if (path.Length is 0 or > GuestBlock.MaxJoined)
            return false;
        for (int n = 0; n < path.Length; n++)
        {
            ref GuestInstruction i = ref block.Instructions[n];
            i = default;
            int within = (int)(path[n] & 0xFFF);
            i.Iced = One(page + within, 4096 - within, path[n], rules.Code32);
            ulong next = n + 1 < path.Length ? path[n + 1] : then;
            if (i.Iced.IsInvalid || (next ^ path[0]) >> 12 != 0)
                return false;
            i.Facts = CodeFacts.Of(i.Iced);
            i.Offset = (int)(path[n] - path[0]);
            i.Treatment = OriginalBytes.IsOrderly(page + within, i.Length, i.Facts, rules.Code32) ? rules.Judge(i) : Treatment.Interpret;
            if (!Joins(ref i, next))
                return false;
            block.Count++;
            block.Bytes += i.Length;
        }
        return true;
    }

    private static bool Joins(ref GuestInstruction i, ulong next)
    {
        switch (i.Treatment)
        {
            case Treatment.Jump when i.IsDirect && i.Iced.NearBranchTarget == next:
                i.Treatment = Treatment.Nothing;
                return true;
            case Treatment.ConditionalJump when next == i.NextRip:
                return true;
            case Treatment.ConditionalJump when next == i.Iced.NearBranchTarget:
                i.Iced.NegateConditionCode();
                i.Iced.NearBranch64 = i.NextRip;
                i.Facts = CodeFacts.Of(i.Iced);
                return true;
            case Treatment.Nothing or Treatment.Verbatim or Treatment.Reencode or Treatment.WithRcx or Treatment.BitTest or Treatment.LoadConstant
                or Treatment.LoadAddress or Treatment.ByteSwap or Treatment.ExchangeRax or Treatment.Divide or Treatment.Push or Treatment.Pop or Treatment.InRcx:
                return next == i.NextRip && !i.Facts.X87;
            default:
                return false;
        }
    }

    private static void Begin(GuestBlock block, in ModeRules rules)
    {
        block.Code32 = rules.Code32;
        block.Count = 0;
        block.Bytes = 0;
        block.EndsAtPage = false;
        block.IsLoop = false;
        block.WindowBeforeLoop = false;
        block.Renamed.Clear();
    }

    /// <summary>One instruction.</summary>
    public Instruction One(byte* code, int length, ulong rip, bool code32)
    {
        Start(code, length, rip, code32).Decode(out Instruction instruction);
        return instruction;
    }

    /// <summary>Which arithmetic flags code at a place may read before it writes them, from its first few instructions.</summary>
    public RflagsBits LiveAt(byte* code, int length, ulong rip, bool code32, out int looked)
    {
        Iced.Intel.Decoder decoder = Start(code, length, rip, code32);
        RflagsBits undecided = CodeFacts.Arithmetic, live = 0;
        looked = 0;
        for (int n = 0; n < 6 && undecided != 0 && !_reader.AtEnd; n++)
        {
            decoder.Decode(out Instruction instruction);
            if (instruction.IsInvalid)
                break;
            CodeFacts facts = CodeFacts.Of(instruction);
            looked += instruction.Length;
            live |= facts.FlagsRead & undecided;
            undecided &= ~facts.FlagsRead;
            if (facts.Treatment is Treatment.Interpret or Treatment.Call or Treatment.Return or Treatment.Jump or Treatment.ConditionalJump or Treatment.CountJump or Treatment.PushFlags or Treatment.Pause)
                break;
            undecided &= ~facts.FlagsKilled;
        }
        return live | undecided;
    }

    private sealed class PointerCodeReader : CodeReader
    {
        private byte* _next;
        private byte* _end;

        public void Start(byte* code, int length)
        {
            _next = code;
            _end = code + length;
        }

        public bool AtEnd => _next == _end;
        public override int ReadByte() => _next < _end ? *_next++ : -1;
    }
}
