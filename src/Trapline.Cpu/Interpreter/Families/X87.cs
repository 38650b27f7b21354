using System.Runtime.CompilerServices;
using Iced.Intel;
using Trapline.Cpu.Interpreter.Float;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>
/// The x87 FPU (SDM Vol. 1, chapter 8): its register stack, its exceptions, and what every instruction does before and after its own work.
/// The instructions are in the other X87 files; the arithmetic itself is in <see cref="F80"/>.
/// </summary>
/// <remarks>
/// Order of events (SDM Vol. 1, 8.6 and Vol. 3, 2.5): #NM by CR0.EM or CR0.TS; #MF for an exception that an earlier instruction left pending, unless
/// the instruction is one of the FN… forms; faults of the memory operand; then the operation, whose exceptions stay pending until the next waiting
/// instruction. An exception found before the operation and unmasked (invalid, stack fault, denormal, zero divide) leaves registers and stack alone.
/// </remarks>
public static unsafe partial class X87
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;

    private const ushort StackFault = 0x40;
    private const ushort ErrorSummary = 0x80;
    private const ushort Busy = 0x8000;
    private const ushort C0 = 0x100;
    private const ushort C1 = 0x200;
    private const ushort C2 = 0x400;
    private const ushort C3 = 0x4000;
    private const ushort Conditions = C0 | C1 | C2 | C3;

    /// <summary>The control word's bits that hold what is written; bit 6 reads as 1.</summary>
    private const ushort ControlDefined = 0x1F3F;
    private const ushort ControlFixed = 0x40;

    public static void Register(Binders.Registry r)
    {
        RegisterMoves(r);
        RegisterArithmetic(r);
        RegisterCompares(r);
        RegisterControl(r);
    }

    /// <summary>Fills what all x87 ops carry: the memory operand and, in <see cref="Op.Imm"/>, the 11 bits of FOP (SDM Vol. 1, 8.1.9).</summary>
    private static void Prepare(ref OpBuilder b)
    {
        for (int i = 0; i < b.Instruction.OpCount; i++)
        {
            if (!b.IsMemory(i))
                continue;
            if (b.Memory() == AddressForm.Flat64)
                b.Op->Flags |= OpFlags.Flat;
            b.Op->OperandSize = (byte)b.Instruction.MemorySize.GetSize();
        }
        b.Op->Imm = Fop(b.Instruction, b.Op->AddressSize, b.Is64);
    }

    /// <summary>The low three bits of the first opcode byte, then the ModRM byte, put together again from what was decoded.</summary>
    internal static ulong Fop(in Instruction instruction, int addressSize, bool is64)
    {
        OpCodeInfo info = instruction.Code.ToOpCode();
        uint opcode = info.OpCode;
        // Two-byte opcodes include the ModRM; those that name ST(i) in its low bits have them zero.
        if (opcode > 0xFF)
        {
            uint number = 0;
            for (int i = 0; i < instruction.OpCount; i++)
                if (instruction.GetOpKind(i) == OpKind.Register && instruction.GetOpRegister(i).IsST())
                    number |= (uint)instruction.GetOpRegister(i).GetNumber();
            return (opcode >> 8 & 7) << 8 | opcode & 0xFF | number;
        }
        uint group = (uint)Math.Max(info.GroupIndex, 0);
        return (opcode & 7) << 8 | group << 3 | (addressSize == 2 ? AddressByte16(instruction) : AddressByte(instruction, is64));
    }

    /// <summary>The mod and r/m fields of a 32- or 64-bit address. A SIB byte that was not needed is not seen here.</summary>
    private static uint AddressByte(in Instruction instruction, bool is64)
    {
        Register based = instruction.MemoryBase;
        if (based is Iced.Intel.Register.RIP or Iced.Intel.Register.EIP)
            return 5;
        if (based == Iced.Intel.Register.None)
            return instruction.MemoryIndex != Iced.Intel.Register.None || is64 ? 4u : 5u;
        uint low = (uint)based.GetNumber() & 7;
        uint rm = instruction.MemoryIndex != Iced.Intel.Register.None ? 4 : low;
        return Mod(instruction.MemoryDisplSize) | rm;
    }

    private static uint AddressByte16(in Instruction instruction)
    {
        bool bx = instruction.MemoryBase == Iced.Intel.Register.BX, bp = instruction.MemoryBase == Iced.Intel.Register.BP;
        Register index = bx || bp ? instruction.MemoryIndex : instruction.MemoryBase;
        if (index == Iced.Intel.Register.None && !bx && !bp)
            return 6;
        uint rm = index switch
        {
            Iced.Intel.Register.SI => bx ? 0u : bp ? 2u : 4u,
            Iced.Intel.Register.DI => bx ? 1u : bp ? 3u : 5u,
            _ => bp ? 6u : 7u,
        };
        return Mod(instruction.MemoryDisplSize) | rm;
    }

    private static uint Mod(int displacementSize) => displacementSize switch { 0 => 0, 1 => 0x40, _ => 0x80 };

    /// <summary>The checks before a waiting instruction. False: a fault is pending.</summary>
    [MethodImpl(Inline)]
    private static bool Begin(SoftwareVcpu cpu, CpuState* s) =>
        ((s->Cr0 & (Cr0.Em | Cr0.Ts)) | (s->Fsw & (ulong)ErrorSummary)) == 0 || BeginSlow(cpu, s);

    private static bool BeginSlow(SoftwareVcpu cpu, CpuState* s) => BeginWithoutWait(cpu, s) && NothingPending(cpu, s);

    /// <summary>The check before an FN… instruction.</summary>
    private static bool BeginWithoutWait(SoftwareVcpu cpu, CpuState* s)
    {
        if ((s->Cr0 & (Cr0.Em | Cr0.Ts)) == 0)
            return true;
        cpu.Fault(Vector.DeviceNotAvailable);
        return false;
    }

    /// <summary>#MF for a pending exception. With CR0.NE clear the chip raises FERR# instead, which PCs wire to IRQ 13 (SDM Vol. 1, D.2).</summary>
    internal static bool NothingPending(SoftwareVcpu cpu, CpuState* s)
    {
        if ((s->Fsw & ErrorSummary) == 0)
            return true;
        if ((s->Cr0 & Cr0.Ne) != 0)
        {
            cpu.Fault(Vector.X87Error);
            return false;
        }
        cpu.FloatingPointError?.Invoke();
        return true;
    }

    /// <summary>Notes where the instruction is; control instructions do not (SDM Vol. 1, 8.1.8).</summary>
    [MethodImpl(Inline)]
    private static void Note(CpuState* s, Op* op)
    {
        s->Fip = op->Rip;
        s->Fcs = s->Cs.Selector;
        s->Fop = (ushort)op->Imm;
    }

    private static void NoteMemory(CpuState* s, Op* op)
    {
        Note(s, op);
        s->Fdp = General.Offset(s, op);
        s->Fds = (&s->Es)[op->Segment].Selector;
    }

    [MethodImpl(Inline)]
    private static bool Address(SoftwareVcpu cpu, CpuState* s, Op* op, int size, bool write, out ulong linear) =>
        (op->Flags & OpFlags.Flat) != 0
            ? Flat64.Linear(cpu, s, op, size, write, out linear)
            : General.Linear(cpu, s, op, size, write, out linear);

    /// <summary>The checks, then the memory operand of up to 8 bytes. False: a fault is pending.</summary>
    private static bool BeginLoad(SoftwareVcpu cpu, CpuState* s, Op* op, int size, out ulong value)
    {
        value = 0;
        if (!Begin(cpu, s) || !Address(cpu, s, op, size, write: false, out ulong linear) || !GuestAccess.Load(cpu, s, op, linear, size, out value))
            return false;
        NoteMemory(s, op);
        return true;
    }

    /// <summary>Stores 2 to 10 bytes. False: a fault is pending, and nothing may have changed yet.</summary>
    private static bool Store(SoftwareVcpu cpu, CpuState* s, Op* op, int size, ulong low, ushort high)
    {
        if (size == ExtendedSize)
            return Store80(cpu, s, op, low, high);
        return Address(cpu, s, op, size, write: true, out ulong linear) && GuestAccess.Store(cpu, s, op, linear, size, low);
    }

    [MethodImpl(Inline)]
    private static int Physical(CpuState* s, int i) => (s->FpuTop + i) & 7;

    [MethodImpl(Inline)]
    private static bool IsEmpty(CpuState* s, int i) => (s->FpuTags >> Physical(s, i) & 1) == 0;

    [MethodImpl(Inline)]
    private static F80 Get(CpuState* s, int i)
    {
        ulong* p = s->Fpr + Physical(s, i) * 2;
        return new F80((ushort)p[1], p[0]);
    }

    [MethodImpl(Inline)]
    private static void Set(CpuState* s, int i, F80 value)
    {
        int n = Physical(s, i);
        s->Fpr[n * 2] = value.Significand;
        s->Fpr[n * 2 + 1] = value.SignExponent;
        s->FpuTags |= (byte)(1 << n);
    }

    [MethodImpl(Inline)]
    private static void Pop(CpuState* s)
    {
        s->FpuTags &= (byte)~(1 << s->FpuTop);
        s->FpuTop = (byte)((s->FpuTop + 1) & 7);
    }

    [MethodImpl(Inline)]
    private static FloatStatus NewStatus(CpuState* s) => FloatStatus.X87(s->Fcw);

    /// <summary>Records what an operation raised, C1 included. False: an exception found before computing is unmasked, so nothing may be written.</summary>
    [MethodImpl(Inline)]
    private static bool Commit(CpuState* s, in FloatStatus status)
    {
        s->Fsw = (ushort)((s->Fsw & ~C1) | (int)status.Raised | (status.RoundedUp ? C1 : 0));
        return status.Raised == 0 || Summarize(s, status);
    }

    private static bool Summarize(CpuState* s, in FloatStatus status)
    {
        FloatExceptions unmasked = status.Unmasked;
        if (unmasked != 0)
            s->Fsw |= ErrorSummary | Busy;
        return (unmasked & FloatExceptions.PreComputation) == 0;
    }

    /// <summary>A stack underflow, or with <paramref name="overflow"/> an overflow (SDM Vol. 1, 8.5.1.1). True: it is masked, go on with the masked response.</summary>
    private static bool RaiseStackFault(CpuState* s, bool overflow)
    {
        s->Fsw = (ushort)((s->Fsw & ~C1) | StackFault | (int)FloatExceptions.Invalid | (overflow ? C1 : 0));
        if ((s->Fcw & (uint)FloatExceptions.Invalid) != 0)
            return true;
        s->Fsw |= ErrorSummary | Busy;
        return false;
    }

    /// <summary>ES and B follow from flags and masks: after either was written as a whole (SDM Vol. 1, 8.1.3.3).</summary>
    internal static void UpdateSummary(CpuState* s)
    {
        bool pending = (s->Fsw & ~s->Fcw & (int)FloatExceptions.All) != 0;
        s->Fsw = (ushort)((s->Fsw & ~(ErrorSummary | Busy)) | (pending ? ErrorSummary | Busy : 0));
    }

    /// <summary>Pushes; a full stack is a stack overflow, answered with the indefinite when masked.</summary>
    private static void Push(CpuState* s, F80 value)
    {
        if (!IsEmpty(s, 7))
        {
            if (!RaiseStackFault(s, overflow: true))
                return;
            value = F80.DefaultNaN;
        }
        else
        {
            s->Fsw &= unchecked((ushort)~C1);
        }
        s->FpuTop = (byte)((s->FpuTop - 1) & 7);
        Set(s, 0, value);
    }

    /// <summary>The stack number of a register operand.</summary>
    private static byte Number(ref OpBuilder b, int operand) => (byte)b.Instruction.GetOpRegister(operand).GetNumber();
}
