using Iced.Intel;
using Trapline.X86;

namespace Trapline.Cpu.Interpreter.Families;

/// <summary>
/// Instructions that change nothing a guest can compute with: fences, prefetches, cache-line flushes, reserved NOPs; and MOVNTI, a plain store here.
/// </summary>
public static unsafe class Hints
{
    public static void Register(Binders.Registry r)
    {
        r.Add(Mnemonic.Lfence, &BindNothing);
        r.Add(Mnemonic.Sfence, &BindFence);
        r.Add(Mnemonic.Mfence, &BindFence);
        // Prefetches never fault, so they do not even look at their address.
        r.Add(Mnemonic.Prefetch, &BindNothing);
        r.Add(Mnemonic.Prefetchw, &BindNothing);
        r.Add(Mnemonic.Prefetchwt1, &BindNothing);
        r.Add(Mnemonic.Prefetchnta, &BindNothing);
        r.Add(Mnemonic.Prefetcht0, &BindNothing);
        r.Add(Mnemonic.Prefetcht1, &BindNothing);
        r.Add(Mnemonic.Prefetcht2, &BindNothing);
        r.Add(Mnemonic.Reservednop, &BindNothing);
        // Without CET these encodings are NOPs (SDM Vol. 2, RDSSP).
        r.Add(Mnemonic.Rdsspd, &BindNothing);
        r.Add(Mnemonic.Rdsspq, &BindNothing);
        r.Add(Mnemonic.Clflush, &BindFlush);
        r.Add(Mnemonic.Clflushopt, &BindFlush);
        r.Add(Mnemonic.Clwb, &BindFlush);
        r.Add(Mnemonic.Movnti, &BindStore);
    }

    private static bool BindNothing(ref OpBuilder b)
    {
        b.Op->Run = &Nothing;
        return true;
    }

    private static int Nothing(SoftwareVcpu cpu, CpuState* s, Op* op) => Status.Next;

    private static bool BindFence(ref OpBuilder b)
    {
        b.Op->Run = &Fence;
        return true;
    }

    private static int Fence(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        Interlocked.MemoryBarrier();
        return Status.Next;
    }

    private static bool BindFlush(ref OpBuilder b)
    {
        b.Memory();
        b.Op->Run = &Flush;
        return b.Model.Has(b.Instruction.Mnemonic switch
        {
            Mnemonic.Clflush => Feature.Clflush,
            Mnemonic.Clflushopt => Feature.ClflushOpt,
            _ => Feature.Clwb,
        });
    }

    /// <summary>Checked as a load of one byte (SDM Vol. 2, CLFLUSH), which it does not do.</summary>
    private static int Flush(SoftwareVcpu cpu, CpuState* s, Op* op) =>
        General.Linear(cpu, s, op, 1, write: false, out ulong linear) && cpu.Probe(linear, 1, op->Segment, write: false) ? Status.Next : Status.Fault;

    private static bool BindStore(ref OpBuilder b)
    {
        b.Op->Src = b.Offset(1);
        b.Memory();
        b.Op->Run = b.RegisterSize(1) == 8 ? &Store<W64> : &Store<W32>;
        return b.Model.Has(Feature.Sse2);
    }

    private static int Store<TWidth>(SoftwareVcpu cpu, CpuState* s, Op* op) where TWidth : IWidth =>
        General.Linear(cpu, s, op, TWidth.Bytes, write: true, out ulong linear)
            && GuestAccess.Store<TWidth>(cpu, s, op, linear, TWidth.Get((byte*)s + op->Src)) ? Status.Next : Status.Fault;
}
