using Iced.Intel;
using Trapline.Cpu.Translator.Emit;
using Trapline.Cpu.Translator.Frontend;

namespace Trapline.Cpu.Translator.Passes;

/// <summary>
/// Guest registers that live in memory (<see cref="HostRegister"/>) get host registers while a loop runs: those of guest registers that the loop uses less, or
/// not at all. To everything behind this pass it looks as if the program had named each in place of the other. Values change places where the loop is
/// entered and left.
/// </summary>
/// <remarks>
/// R8 to R11 are renamed to registers whose encodings have no special cases (SDM Vol. 2, table 2-5) and whose names differ in REX, VEX, ModRM, SIB or opcode bits
/// alone, so that no instruction changes its length. What came of it is decoded again and compared: whatever this pass does not know is left as it is.
/// </remarks>
public static unsafe class RegisterRenaming
{
    /// <summary>RBX, RSI, RDI, R14, R15, RCX.</summary>
    private static readonly int[] Replacements = [3, 6, 7, 14, 15, 1];

    /// <summary>Fewer uses saved in an iteration are not worth the moves where the loop is entered and left.</summary>
    private const int LeastSaved = 2;

    /// <summary>The longest instruction.</summary>
    public const int MaxLength = 15;

    /// <summary>Uses of a register that has to keep its name.</summary>
    private const int Fixed = int.MaxValue / 2;

    /// <param name="code">The block's first byte; instructions lie at their offsets from it.</param>
    /// <param name="renamed">Room for <see cref="MaxLength"/> bytes an instruction: the block's bytes are there afterwards, and its offsets are into this.</param>
    public static void Run(GuestBlock block, byte* code, byte* renamed, BlockReader reader, in ModeRules rules)
    {
        CopyCode(block, code, renamed);
        Span<int> uses = stackalloc int[16];
        CountUses(block, renamed, uses);
        Span<int> names = stackalloc int[16];
        for (int n = 0; n < names.Length; n++)
            names[n] = n;
        for (; ; )
        {
            int most = -1, least = -1;
            for (int n = 8; n < 12; n++)
                if (names[n] == n && uses[n] < Fixed && (most < 0 || uses[n] > uses[most]))
                    most = n;
            foreach (int n in Replacements)
                if (names[n] == n && (least < 0 || uses[n] < uses[least]))
                    least = n;
            if (most < 0 || least < 0 || uses[most] == 0 || (uses[least] != 0 && uses[most] - uses[least] < LeastSaved))
                break;
            block.Renamed.Add((most, least));
            (names[most], names[least]) = (least, most);
        }
        if (block.Renamed.Count != 0 && !Rename(block, renamed, names, reader, rules))
        {
            CopyCode(block, code, renamed, restore: true);
            block.Renamed.Clear();
        }
    }

    /// <summary>How often each register is read, and written.</summary>
    private static void CountUses(GuestBlock block, byte* code, Span<int> uses)
    {
        InstructionInfoFactory info = new();
        foreach (ref readonly GuestInstruction i in block.All)
            foreach (UsedRegister used in info.GetInfo(i.Iced).GetUsedRegisters())
            {
                if (!used.Register.IsGPR())
                    continue;
                int n = used.Register.GetFullRegister().GetNumber();
                uses[n] = CanRename(i, code + i.Offset, n) ? uses[n] + (used.Access is OpAccess.Read or OpAccess.Write or OpAccess.CondRead ? 1 : 2) : Fixed;
            }
    }

    /// <summary>The instruction names the register where it could name R8 to R11 as well.</summary>
    private static bool CanRename(in GuestInstruction i, byte* code, int register)
    {
        ref readonly Instruction instruction = ref i.Iced;
        OriginalBytes original = new(code, i.Length, code32: false);
        bool extends = register > 7 || (original.IsVex ? code[original.PrefixLength] == 0xC4 : original.Rex != 0);
        if (!extends || (i.Treatment == Treatment.WithRcx && register == 1))
            return false;
        bool named = Is(instruction.MemoryBase, register) || Is(instruction.MemoryIndex, register);
        for (int n = 0; n < instruction.OpCount && !named; n++)
            named = instruction.GetOpKind(n) == OpKind.Register && Is(instruction.GetOpRegister(n), register);
        return named;
    }

    private static bool Is(Register register, int number) =>
        register.IsGPR() && register is not (>= Register.AH and <= Register.BH) && register.GetFullRegister().GetNumber() == number;

    private static void CopyCode(GuestBlock block, byte* code, byte* to, bool restore = false)
    {
        int at = 0;
        foreach (ref GuestInstruction i in block.All)
        {
            byte* from = restore ? code + (long)(i.Rip - block.Rip) : code + i.Offset;
            Buffer.MemoryCopy(from, to + at, MaxLength, i.Length);
            i.Offset = at;
            at += i.Length;
        }
    }

    private static bool Rename(GuestBlock block, byte* bytes, ReadOnlySpan<int> names, BlockReader reader, in ModeRules rules)
    {
        GuestInstruction[] before = block.All.ToArray();
        foreach (ref GuestInstruction i in block.All)
        {
            if (i.Treatment is Treatment.Nothing or Treatment.ConditionalJump)
                continue;
            RenameBytes(bytes + i.Offset, i, names);
            Instruction now = reader.One(bytes + i.Offset, i.Length, i.Rip, code32: false);
            bool renamed = IsRenamed(i.Iced, now, names);
            i.Iced = now;
            if (!renamed || rules.Judge(i) != i.Treatment)
            {
                before.CopyTo(block.All);
                return false;
            }
        }
        return true;
    }

    private static void RenameBytes(byte* code, in GuestInstruction i, ReadOnlySpan<int> names)
    {
        OriginalBytes original = new(code, i.Length, code32: false);
        if (!i.Facts.HasModRm)
        {
            // The register is in the opcode's lowest bits: MOV with a constant, PUSH, POP, BSWAP, XCHG with RAX.
            if (!original.IsVex && i.Iced.Op0Kind == OpKind.Register && i.Treatment is not Treatment.Verbatim)
            {
                byte* opcode = code + original.OpcodeAt + original.OpcodeLength - 1;
                int to = names[*opcode & 7 | (original.Rex & 1) << 3];
                *opcode = (byte)(*opcode & ~7 | to & 7);
                SetExtension(code, original, 0, to);
            }
            return;
        }
        byte* modRm = code + original.ModRmAt;
        int reg = i.Facts.RegIsGeneral ? names[original.RegField] : original.RegField;
        int rm = *modRm & 7;
        if (*modRm >> 6 == 3)
        {
            int to = i.Facts.RmIsGeneral ? names[original.RmField] : original.RmField;
            rm = to & 7;
            SetExtension(code, original, 0, to);
        }
        else if (rm == 4)
        {
            byte* sib = modRm + 1;
            int b = names[*sib & 7 | Extension(original, 0) << 3], index = names[*sib >> 3 & 7 | Extension(original, 1) << 3];
            *sib = (byte)(*sib & 0xC0 | (index & 7) << 3 | b & 7);
            SetExtension(code, original, 0, b);
            SetExtension(code, original, 1, index);
        }
        else
        {
            int b = names[rm | Extension(original, 0) << 3];
            rm = b & 7;
            SetExtension(code, original, 0, b);
        }
        *modRm = (byte)(*modRm & 0xC0 | (reg & 7) << 3 | rm);
        SetExtension(code, original, 2, reg);
        if (original.IsVex && i.Facts.VvvvIsGeneral)
        {
            byte* last = code + original.OpcodeAt - 1;
            *last = (byte)(*last & 0x87 | (~names[original.VvvvField] & 15) << 3);
        }
    }

    /// <summary>The fourth bit of a register's name, in REX or, inverted, in VEX: 0 is B, 1 is X, 2 is R.</summary>
    private static int Extension(in OriginalBytes original, int which) =>
        original.IsVex ? (original.Vex1 >> 5 + which & 1) ^ 1 : original.Rex >> which & 1;

    private static void SetExtension(byte* code, in OriginalBytes original, int which, int register)
    {
        bool high = register > 7;
        if (!original.IsVex)
        {
            byte* rex = code + original.PrefixLength;
            if (original.Rex != 0)
                *rex = (byte)(*rex & ~(1 << which) | (high ? 1 << which : 0));
            return;
        }
        // VEX in two bytes has R alone: the others are low registers, and stay so.
        int shift = code[original.PrefixLength] == 0xC5 ? 7 : 5 + which;
        if (code[original.PrefixLength] == 0xC5 && which != 2)
            return;
        byte* first = code + original.PrefixLength + 1;
        *first = (byte)(*first & ~(1 << shift) | (high ? 0 : 1 << shift));
    }

    /// <summary>The same instruction with the new names, and nothing else.</summary>
    private static bool IsRenamed(in Instruction was, in Instruction now, ReadOnlySpan<int> names)
    {
        bool same = was.Code == now.Code && was.Length == now.Length && was.OpCount == now.OpCount && was.MemoryDisplacement64 == now.MemoryDisplacement64
            && was.MemoryIndexScale == now.MemoryIndexScale && was.SegmentPrefix == now.SegmentPrefix
            && Renamed(was.MemoryBase, names) == now.MemoryBase && Renamed(was.MemoryIndex, names) == now.MemoryIndex;
        for (int n = 0; same && n < was.OpCount; n++)
            same = was.GetOpKind(n) == now.GetOpKind(n) && (was.GetOpKind(n) != OpKind.Register || Renamed(was.GetOpRegister(n), names) == now.GetOpRegister(n));
        return same;
    }

    private static Register Renamed(Register register, ReadOnlySpan<int> names)
    {
        if (!register.IsGPR() || register is >= Register.AH and <= Register.BH)
            return register;
        int name = names[register.GetFullRegister().GetNumber()];
        return register.GetSize() switch
        {
            8 => Register.RAX + name,
            4 => Register.EAX + name,
            2 => Register.AX + name,
            // AH to BH lie between BL and SPL.
            _ => name < 4 ? Register.AL + name : Register.SPL + (name - 4),
        };
    }
}
