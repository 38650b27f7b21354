using System.Runtime.CompilerServices;
using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>MOVS, CMPS, SCAS, LODS, STOS with every REP form, address size and segment override.</summary>
/// <remarks>
/// One handler per operation and width. It works in chunks: as many elements as lie, going forward, within one page on each side and within the
/// segments' limits are done at host pointers at once; every other element (backward, crossing a page, MMIO, code pages, faults) goes singly
/// through the checked path. Registers are exact after each chunk, so a fault or an interrupt in the middle resumes by running the instruction
/// again; a fault in a repeated CMPS or SCAS leaves the flags as before the instruction (SDM Vol. 2, REP). After each chunk
/// <see cref="SoftwareVcpu.AttentionWanted"/> is looked at; while single-stepping it is always set and a chunk is one element.
/// </remarks>
public static unsafe class Strings
{
    private const MethodImplOptions Inline = MethodImplOptions.AggressiveInlining;
    private const int Rcx = 1, Rsi = 6, Rdi = 7;

    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Movsb, &BindMove);
        r.Add(Mnemonic.Movsw, &BindMove);
        r.Add(Mnemonic.Movsd, &BindMove);
        r.Add(Mnemonic.Movsq, &BindMove);
        r.Add(Mnemonic.Stosb, &BindStore);
        r.Add(Mnemonic.Stosw, &BindStore);
        r.Add(Mnemonic.Stosd, &BindStore);
        r.Add(Mnemonic.Stosq, &BindStore);
        r.Add(Mnemonic.Lodsb, &BindLoad);
        r.Add(Mnemonic.Lodsw, &BindLoad);
        r.Add(Mnemonic.Lodsd, &BindLoad);
        r.Add(Mnemonic.Lodsq, &BindLoad);
        r.Add(Mnemonic.Cmpsb, &BindCompare);
        r.Add(Mnemonic.Cmpsw, &BindCompare);
        r.Add(Mnemonic.Cmpsd, &BindCompare);
        r.Add(Mnemonic.Cmpsq, &BindCompare);
        r.Add(Mnemonic.Scasb, &BindScan);
        r.Add(Mnemonic.Scasw, &BindScan);
        r.Add(Mnemonic.Scasd, &BindScan);
        r.Add(Mnemonic.Scasq, &BindScan);
    }

    private static bool BindMove(ref OpBuilder b)
    {
        if (!Prepare(ref b))
            return false;
        b.Op->Run = b.Op->OperandSize switch { 1 => &Move<W8>, 2 => &Move<W16>, 4 => &Move<W32>, _ => &Move<W64> };
        return true;
    }

    private static bool BindStore(ref OpBuilder b)
    {
        b.Op->Run = PreparedSize(ref b) switch { 1 => &Store<W8>, 2 => &Store<W16>, 4 => &Store<W32>, _ => &Store<W64> };
        return true;
    }

    private static bool BindLoad(ref OpBuilder b)
    {
        b.Op->Run = PreparedSize(ref b) switch { 1 => &Load<W8>, 2 => &Load<W16>, 4 => &Load<W32>, _ => &Load<W64> };
        return true;
    }

    private static bool BindCompare(ref OpBuilder b)
    {
        if (!Prepare(ref b))
            return false;
        b.Op->Run = b.Op->OperandSize switch { 1 => &Compare<W8>, 2 => &Compare<W16>, 4 => &Compare<W32>, _ => &Compare<W64> };
        return true;
    }

    private static bool BindScan(ref OpBuilder b)
    {
        b.Op->Run = PreparedSize(ref b) switch { 1 => &Scan<W8>, 2 => &Scan<W16>, 4 => &Scan<W32>, _ => &Scan<W64> };
        return true;
    }

    private static int PreparedSize(ref OpBuilder b)
    {
        Prepare(ref b);
        return b.Op->OperandSize;
    }

    /// <summary>Fills widths and segment. False: not a string instruction but the SSE2 one of the same name.</summary>
    private static bool Prepare(ref OpBuilder b)
    {
        if (!b.Instruction.IsStringInstruction)
            return false;
        b.Op->OperandSize = (byte)b.Instruction.MemorySize.GetSize();
        b.Op->Segment = (byte)OpBuilder.SegmentNumber(b.Instruction.MemorySegment);
        for (int i = 0; i < b.Instruction.OpCount; i++)
        {
            int size = b.Kind(i) switch
            {
                OpKind.MemorySegSI or OpKind.MemorySegDI or OpKind.MemoryESDI => 2,
                OpKind.MemorySegESI or OpKind.MemorySegEDI or OpKind.MemoryESEDI => 4,
                OpKind.MemorySegRSI or OpKind.MemorySegRDI or OpKind.MemoryESRDI => 8,
                _ => 0,
            };
            if (size != 0)
                b.Op->AddressSize = (byte)size;
        }
        return true;
    }

    /// <summary>RCX, RSI or RDI at the address size.</summary>
    [MethodImpl(Inline)]
    private static ulong Get(CpuState* s, Op* op, int register) => General.Truncate(s->Gpr[register], op->AddressSize);

    /// <summary>Writes RCX, RSI or RDI at the address size.</summary>
    [MethodImpl(Inline)]
    private static void Set(CpuState* s, Op* op, int register, ulong value)
    {
        if (op->AddressSize == 2)
            *(ushort*)&s->Gpr[register] = (ushort)value;
        else
            s->Gpr[register] = General.Truncate(value, op->AddressSize);
    }

    [MethodImpl(Inline)]
    private static void Advance(CpuState* s, Op* op, int register, long bytes) => Set(s, op, register, s->Gpr[register] + (ulong)bytes);

    [MethodImpl(Inline)]
    private static bool Repeats(Op* op) => (op->Flags & (OpFlags.Rep | OpFlags.Repne)) != 0;

    /// <summary>Bytes that one element moves the pointers.</summary>
    [MethodImpl(Inline)]
    private static long Step<TWidth>(CpuState* s) where TWidth : IWidth => (s->RFlags & Rflags.Df) != 0 ? -TWidth.Bytes : TWidth.Bytes;

    /// <summary>
    /// How many of <paramref name="count"/> elements from a pointer register on lie within one page, the segment's limit and the address size,
    /// and where they are. Zero: the next element must take the checked path.
    /// </summary>
    private static ulong Run<TWidth>(CpuState* s, Op* op, int segment, int register, bool write, ulong count, out byte* host) where TWidth : IWidth
    {
        ulong offset = Get(s, op, register), linear;
        host = null;
        if (s->Is64 != 0)
        {
            linear = s->AddressBase[segment] + offset;
            if (op->AddressSize == 4)
                count = Math.Min(count, (0x1_0000_0000 - offset) / (ulong)TWidth.Bytes);
        }
        else
        {
            SegmentRegister* descriptor = &s->Es + segment;
            linear = (uint)(descriptor->Base + offset);
            ulong end = Math.Min(descriptor->Limit, op->AddressSize == 2 ? 0xFFFFul : 0xFFFF_FFFFul) + 1;
            if ((descriptor->FastRights & (write ? 2 : 1)) == 0 || offset >= end)
                return 0;
            count = Math.Min(count, (end - offset) / (ulong)TWidth.Bytes);
        }
        count = Math.Min(count, (4096 - (linear & 0xFFF)) / (ulong)TWidth.Bytes);
        if (count == 0)
            return 0;
        host = write ? GuestAccess.WritePointer(s, linear, TWidth.Bytes) : GuestAccess.ReadPointer(s, linear, TWidth.Bytes);
        return host == null ? 0 : count;
    }

    private static bool Linear<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op, int segment, int register, bool write, out ulong linear)
        where TWidth : IWidth => cpu.SegmentLinear(segment, Get(s, op, register), TWidth.Bytes, write, out linear);

    private static bool LoadOne<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op, int segment, int register, out ulong value) where TWidth : IWidth
    {
        value = 0;
        return Linear<TWidth>(cpu, s, op, segment, register, write: false, out ulong linear)
            && (LoadFast<TWidth>(s, linear, out value) || cpu.LoadSlow(linear, TWidth.Bytes, segment, out value));
    }

    [MethodImpl(Inline)]
    private static bool LoadFast<TWidth>(CpuState* s, ulong linear, out ulong value) where TWidth : IWidth
    {
        byte* p = GuestAccess.ReadPointer(s, linear, TWidth.Bytes);
        value = p != null ? TWidth.Get(p) : 0;
        return p != null;
    }

    private static bool StoreOne<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op, int register, ulong value) where TWidth : IWidth
    {
        if (!Linear<TWidth>(cpu, s, op, SegmentIndex.Es, register, write: true, out ulong linear))
            return false;
        byte* p = GuestAccess.WritePointer(s, linear, TWidth.Bytes);
        if (p == null)
            return cpu.StoreSlow(linear, TWidth.Bytes, SegmentIndex.Es, value);
        TWidth.Set(p, value);
        return true;
    }

    /// <summary>An interrupt or a trap is to be taken between two elements: RIP stays at the instruction.</summary>
    private static int Pause(CpuState* s, Op* op)
    {
        s->Rip = op->Rip;
        return Status.BlockEnd;
    }

    private static int Move<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth
    {
        bool repeats = Repeats(op);
        ulong count = repeats ? Get(s, op, Rcx) : 1;
        long step = Step<TWidth>(s);
        while (count != 0)
        {
            ulong done = 0;
            if (repeats && step > 0 && !cpu.AttentionWanted)
            {
                done = Run<TWidth>(s, op, op->Segment, Rsi, write: false, count, out byte* from);
                done = Run<TWidth>(s, op, SegmentIndex.Es, Rdi, write: true, done, out byte* to);
                if (done != 0)
                    CopyForward<TWidth>(from, to, done);
            }
            if (done == 0)
            {
                if (!LoadOne<TWidth>(cpu, s, op, op->Segment, Rsi, out ulong value) || !StoreOne<TWidth>(cpu, s, op, Rdi, value))
                    return Status.Fault;
                done = 1;
            }
            Advance(s, op, Rsi, (long)done * step);
            Advance(s, op, Rdi, (long)done * step);
            count -= done;
            if (!repeats)
                break;
            Set(s, op, Rcx, count);
            if (count != 0 && cpu.AttentionWanted)
                return Pause(s, op);
        }
        return Status.Next;
    }

    /// <summary>Element by element in effect: where the destination overlaps the source's rest, the pattern repeats (SDM Vol. 2, MOVS).</summary>
    private static void CopyForward<TWidth>(byte* from, byte* to, ulong count) where TWidth : IWidth
    {
        ulong bytes = count * (ulong)TWidth.Bytes;
        if ((ulong)(to - from) >= bytes) // also when the destination lies before the source
        {
            Buffer.MemoryCopy(from, to, bytes, bytes);
            return;
        }
        for (ulong i = 0; i < bytes; i += (ulong)TWidth.Bytes)
            TWidth.Set(to + i, TWidth.Get(from + i));
    }

    private static int Store<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth
    {
        bool repeats = Repeats(op);
        ulong count = repeats ? Get(s, op, Rcx) : 1;
        ulong value = TWidth.Get(&s->Gpr[0]);
        long step = Step<TWidth>(s);
        while (count != 0)
        {
            ulong done = 0;
            if (repeats && step > 0 && !cpu.AttentionWanted)
            {
                done = Run<TWidth>(s, op, SegmentIndex.Es, Rdi, write: true, count, out byte* to);
                if (done != 0)
                    Fill<TWidth>(to, done, value);
            }
            if (done == 0)
            {
                if (!StoreOne<TWidth>(cpu, s, op, Rdi, value))
                    return Status.Fault;
                done = 1;
            }
            Advance(s, op, Rdi, (long)done * step);
            count -= done;
            if (!repeats)
                break;
            Set(s, op, Rcx, count);
            if (count != 0 && cpu.AttentionWanted)
                return Pause(s, op);
        }
        return Status.Next;
    }

    private static void Fill<TWidth>(byte* to, ulong count, ulong value) where TWidth : IWidth
    {
        switch (TWidth.Bytes)
        {
            case 1: new Span<byte>(to, (int)count).Fill((byte)value); break;
            case 2: new Span<ushort>(to, (int)count).Fill((ushort)value); break;
            case 4: new Span<uint>(to, (int)count).Fill((uint)value); break;
            default: new Span<ulong>(to, (int)count).Fill(value); break;
        }
    }

    private static int Load<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth
    {
        bool repeats = Repeats(op);
        ulong count = repeats ? Get(s, op, Rcx) : 1;
        while (count != 0)
        {
            if (!LoadOne<TWidth>(cpu, s, op, op->Segment, Rsi, out ulong value))
                return Status.Fault;
            TWidth.SetRegister(&s->Gpr[0], value);
            Advance(s, op, Rsi, Step<TWidth>(s));
            if (!repeats)
                break;
            Set(s, op, Rcx, --count);
            if (count != 0 && cpu.AttentionWanted)
                return Pause(s, op);
        }
        return Status.Next;
    }

    /// <summary>Whether a repeated comparison goes on: REPE while equal, REPNE while not.</summary>
    [MethodImpl(Inline)]
    private static bool GoesOn(Op* op, ulong a, ulong b) => (a == b) == ((op->Flags & OpFlags.Repne) == 0);

    [MethodImpl(Inline)]
    private static void SetCompared<TWidth>(CpuState* s, ulong a, ulong b) where TWidth : IWidth
    {
        ulong difference = TWidth.Truncate(a - b);
        Flags.SetSub(s, a, b, difference, TWidth.SignExtend(difference), TWidth.Bits);
    }

    private static int Compare<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth
    {
        bool repeats = Repeats(op);
        ulong count = repeats ? Get(s, op, Rcx) : 1;
        long step = Step<TWidth>(s);
        bool any = false, more = true;
        ulong a = 0, b = 0;
        while (count != 0 && more)
        {
            ulong done = 0;
            if (repeats && step > 0 && !cpu.AttentionWanted)
            {
                ulong run = Run<TWidth>(s, op, op->Segment, Rsi, write: false, count, out byte* first);
                run = Run<TWidth>(s, op, SegmentIndex.Es, Rdi, write: false, run, out byte* second);
                while (done < run && more)
                {
                    a = TWidth.Get(first + done * (ulong)TWidth.Bytes);
                    b = TWidth.Get(second + done * (ulong)TWidth.Bytes);
                    more = GoesOn(op, a, b);
                    done++;
                }
            }
            if (done == 0)
            {
                if (!LoadOne<TWidth>(cpu, s, op, SegmentIndex.Es, Rdi, out b) || !LoadOne<TWidth>(cpu, s, op, op->Segment, Rsi, out a))
                    return Status.Fault;
                more = GoesOn(op, a, b);
                done = 1;
            }
            any = true;
            Advance(s, op, Rsi, (long)done * step);
            Advance(s, op, Rdi, (long)done * step);
            count -= done;
            if (!repeats)
                break;
            Set(s, op, Rcx, count);
            if (count != 0 && more && cpu.AttentionWanted)
            {
                SetCompared<TWidth>(s, a, b);
                return Pause(s, op);
            }
        }
        if (any)
            SetCompared<TWidth>(s, a, b);
        return Status.Next;
    }

    private static int Scan<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth
    {
        bool repeats = Repeats(op);
        ulong count = repeats ? Get(s, op, Rcx) : 1;
        long step = Step<TWidth>(s);
        bool any = false, more = true;
        ulong a = TWidth.Get(&s->Gpr[0]), b = 0;
        while (count != 0 && more)
        {
            ulong done = 0;
            if (repeats && step > 0 && !cpu.AttentionWanted)
            {
                ulong run = Run<TWidth>(s, op, SegmentIndex.Es, Rdi, write: false, count, out byte* from);
                while (done < run && more)
                {
                    b = TWidth.Get(from + done * (ulong)TWidth.Bytes);
                    more = GoesOn(op, a, b);
                    done++;
                }
            }
            if (done == 0)
            {
                if (!LoadOne<TWidth>(cpu, s, op, SegmentIndex.Es, Rdi, out b))
                    return Status.Fault;
                more = GoesOn(op, a, b);
                done = 1;
            }
            any = true;
            Advance(s, op, Rdi, (long)done * step);
            count -= done;
            if (!repeats)
                break;
            Set(s, op, Rcx, count);
            if (count != 0 && more && cpu.AttentionWanted)
            {
                SetCompared<TWidth>(s, a, b);
                return Pause(s, op);
            }
        }
        if (any)
            SetCompared<TWidth>(s, a, b);
        return Status.Next;
    }
}
