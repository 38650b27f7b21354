using Iced.Intel;
using Trapline.Core;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Kvm.Tests;

/// <summary>What a guest under KVM writes is in the machine's dirty log, beside what others write.</summary>
public sealed class DirtyLogTests
{
    private static readonly ulong[] First = [0x10_0000, 0x10_1000, 0x20_0000, 0x3F_F000], Second = [0x10_1000, 0x30_0000];

    [KvmTheory]
    [InlineData(32)]
    [InlineData(64)]
    public void WrittenPagesAreInTheLogOnce(int bits)
    {
        using KvmBench bench = new();
        bench.Load(bits, a =>
        {
            Stop(a);
            Write(a, First);
            a.mov(eax, __dword_ptr[0x18_0000]); // reading leaves no trace
            Stop(a);
            Write(a, Second);
            Stop(a);
            Stop(a);
        });
        bench.Enter(bits);
        Assert.Equal(StopReason.Kicked, bench.Cpu.Run());
        // Nobody has asked before: all of RAM may have been written.
        Assert.Equal(1024, Collect(bench).Count);
        Assert.Equal(First, Next(bench));
        bench.Memory.TryWrite(new Gpa(0x2F_FFFF), [1, 2]);
        Assert.Equal([0x10_1000, 0x2F_F000, 0x30_0000], Next(bench));
        Assert.Empty(Next(bench));
    }

    /// <summary>Runs to the next stop; the tables of the mode apart, where the processor sets bits.</summary>
    private static List<ulong> Next(KvmBench bench)
    {
        Assert.Equal(StopReason.Kicked, bench.Cpu.Run());
        return [.. Collect(bench).Where(page => page >= 0x10_0000)];
    }

    private static List<ulong> Collect(KvmBench bench)
    {
        List<ulong> dirty = [];
        bench.Memory.CollectDirty(dirty.Add);
        return dirty;
    }

    private static void Write(Assembler a, ulong[] pages)
    {
        foreach (ulong page in pages)
        {
            a.mov(edi, (int)page);
            a.mov(__dword_ptr[edi + 0x123], 7);
        }
    }

    private static void Stop(Assembler a) => a.@out(KvmBench.StopPort, al);
}
