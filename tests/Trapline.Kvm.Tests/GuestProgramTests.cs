using Iced.Intel;
using Trapline.Core;
using Trapline.Memory;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Kvm.Tests;

/// <summary>Small guests in all modes that a host may have: each kind of exit arrives once, with the right numbers, and the state is whole afterwards.</summary>
public sealed class GuestProgramTests
{
    private const ulong Handler = 0x9000;

    [KvmTheory]
    [InlineData(16)]
    [InlineData(32)]
    [InlineData(64)]
    public void PortsOfAllWidths(int bits)
    {
        using KvmBench bench = Started(bits, a =>
        {
            a.mov(al, 0x5A);
            a.@out(0x80, al);
            a.mov(ax, 0x1234);
            a.mov(dx, 0x300);
            a.@out(dx, ax);
            a.mov(eax, 0x12345678);
            a.@out(dx, eax);
            a.@in(al, 0x81);
            a.mov(bl, al);
            a.@in(ax, dx);
            a.mov(cx, ax);
            a.@in(eax, dx);
            Stop(a);
        });
        Assert.Equal(StopReason.Kicked, bench.Cpu.Run());
        Assert.Equal(["out 80/1=5a", "out 300/2=1234", "out 300/4=12345678", "in 81/1", "in 300/2", "in 300/4", "out f4/1=21"], bench.Seam.Notes);
        VcpuState state = bench.Cpu.Export();
        Assert.Equal(0xA2ul, state.General[3] & 0xFF);
        Assert.Equal(0x4621ul, state.General[1] & 0xFFFF);
        Assert.Equal(0x8765_4621ul, state.General[0]);
        Assert.Equal(7, bench.Cpu.Counters.Instructions);
    }

    [KvmTheory]
    [InlineData(16)]
    [InlineData(32)]
    [InlineData(64)]
    public void StringsInBothDirections(int bits)
    {
        using KvmBench bench = Started(bits, a =>
        {
            a.mov(esi, 0x6000);
            a.mov(dx, 0x300);
            a.mov(ecx, 5);
            a.rep.outsb();
            a.mov(edi, 0x6100);
            a.mov(ecx, 3);
            a.std();
            a.rep.insw();
            a.cld();
            a.mov(edi, 0x6200);
            a.insd();
            Stop(a);
        });
        bench.Memory.TryWrite(new Gpa(0x6000), "hello"u8);
        Assert.Equal(StopReason.Kicked, bench.Cpu.Run());
        Assert.Equal(["out 300/1=68", "out 300/1=65", "out 300/1=6c", "out 300/1=6c", "out 300/1=6f", "in 300/2", "in 300/2", "in 300/2", "in 300/4"], bench.Seam.Notes.SkipLast(1));
        Assert.Equal(0x4621_4621_4621_0000ul, bench.Read(0x60FA));
        Assert.Equal(0x8765_4621ul, bench.Read(0x6200));
        VcpuState state = bench.Cpu.Export();
        Assert.Equal((0x6005ul, 0ul, 0x6204ul), (state.General[6], state.General[1], state.General[7]));
    }

    [KvmTheory]
    [InlineData(32)]
    [InlineData(64)]
    public void MemoryThatIsNotThere(int bits)
    {
        using KvmBench bench = Started(bits, a =>
        {
            a.mov(edi, 0x1000_0000);
            a.mov(__byte_ptr[edi], 0x11);
            a.mov(__word_ptr[edi + 2], 0x2222);
            a.mov(__dword_ptr[edi + 4], 0x33333333);
            a.movzx(ebx, __byte_ptr[edi + 1]);
            a.mov(ecx, __dword_ptr[edi + 8]);
            a.mov(__dword_ptr[edi + 0xFFD], 0x44332211); // three bytes in one page, one in the next
            Stop(a);
        });
        Assert.Equal(StopReason.Kicked, bench.Cpu.Run());
        string[] notes = [.. bench.Seam.Notes.SkipLast(1)];
        Assert.Equal(["store 10000000/1=11", "store 10000002/2=2222", "store 10000004/4=33333333", "load 10000001/1", "load 10000008/4"], notes.Take(5));
        // However the kernel cuts it, the same bytes go to the same places.
        Assert.Equal("10000ffd=11 10000ffe=22 10000fff=33 10001000=44", string.Join(' ', notes.Skip(5).SelectMany(Bytes)));
        VcpuState state = bench.Cpu.Export();
        Assert.Equal((0x88ul, 0x5566_7788ul), (state.General[3], state.General[1]));

        static IEnumerable<string> Bytes(string note)
        {
            string[] parts = note.Split(' ', '/', '=');
            ulong address = Convert.ToUInt64(parts[1], 16), value = Convert.ToUInt64(parts[3], 16);
            for (int i = 0; i < int.Parse(parts[2]); i++)
                yield return $"{address + (ulong)i:x}={value >> (8 * i) & 0xFF:x}";
        }
    }

    [KvmFact]
    public void RomIsReadAndStoresToItAreIgnored()
    {
        GuestMemory memory = new([new MemoryRegion(new Gpa(0), 1 << 20, MemoryKind.Ram, 0), new MemoryRegion(new Gpa(0x20_0000), 0x1000, MemoryKind.Rom, 1 << 20)]);
        memory.TryLoad(new Gpa(0x20_0000), [0x78, 0x56, 0x34, 0x12]);
        using KvmBench bench = new(memory: memory);
        bench.Load(32, a =>
        {
            a.mov(edi, 0x20_0000);
            a.mov(eax, __dword_ptr[edi]);
            a.mov(__dword_ptr[edi], 7);
            a.mov(ebx, __dword_ptr[edi]);
            Stop(a);
        });
        bench.Enter(32);
        Assert.Equal(StopReason.Kicked, bench.Cpu.Run());
        Assert.Equal("store 200000/4=7", bench.Seam.Notes[0]);
        Assert.Equal(0x12345678ul, bench.Cpu.Export().General[3]);
    }

    [KvmFact]
    public void TheMapCanChangeUnderTheGuest()
    {
        using KvmBench bench = Started(32, a =>
        {
            a.mov(edi, 0x20_0000);
            a.mov(__dword_ptr[edi], 5);
            a.mov(eax, __dword_ptr[edi]);
            Stop(a);
            a.mov(ebx, __dword_ptr[edi]); // now MMIO
            a.mov(ecx, __dword_ptr[0x50_0000]); // and this is what was at 2 MiB
            Stop(a);
        });
        Assert.Equal(StopReason.Kicked, bench.Cpu.Run());
        bench.Memory.Remap([
            new MemoryRegion(new Gpa(0), 0x20_0000, MemoryKind.Ram, 0), new MemoryRegion(new Gpa(0x50_0000), 0x20_0000, MemoryKind.Ram, 0x20_0000)]);
        Assert.Equal(StopReason.Kicked, bench.Cpu.Run());
        VcpuState state = bench.Cpu.Export();
        Assert.Equal((0x5566_7788ul, 5ul), (state.General[3], state.General[1]));
    }

    [KvmTheory]
    [InlineData(16)]
    [InlineData(32)]
    [InlineData(64)]
    public void AHaltedGuestWakesByAnInterrupt(int bits)
    {
        using KvmBench bench = Started(bits, a =>
        {
            a.mov(ebx, 0);
            a.sti();
            a.hlt();
            a.inc(ebx);
        });
        bench.Load(bits, a =>
        {
            a.add(ebx, 0x100);
            Stop(a);
        }, Handler);
        bench.Handle(bits, 0x41, Handler);
        Assert.Equal(StopReason.Halted, bench.Cpu.Run());
        Assert.False(bench.Cpu.HasWork);
        Assert.Equal(VcpuActivity.Halted, bench.Cpu.Export().Activity);
        Assert.Equal(StopReason.Halted, bench.Cpu.Run());
        bench.Seam.Interrupt(0x41);
        Assert.True(bench.Cpu.HasWork);
        Assert.Equal(StopReason.Kicked, bench.Cpu.Run());
        Assert.Equal(0x100ul, bench.Cpu.Export().General[3]);
        Assert.Equal(1, bench.Cpu.Counters.Interrupts);
    }

    [KvmFact]
    public void AnInterruptWaitsForTheGuestsPermission()
    {
        using KvmBench bench = Started(64, a =>
        {
            a.mov(ebx, 0);
            a.@out(0x80, al); // the interrupt comes here
            a.add(ebx, 1);
            a.@out(0x81, al);
            a.mov(eax, 9);
            a.mov(cr8, rax); // vector 41h is of class 4
            a.sti();
            a.add(ebx, 1);
            a.@out(0x82, al);
            a.xor(eax, eax);
            a.mov(cr8, rax); // now, or on hosts without hardware at the next exit
            a.nop();
            a.@out(0x83, al);
            Label again = a.CreateLabel();
            a.Label(ref again);
            a.inc(edx);
            a.jmp(again);
        });
        bench.Load(64, a =>
        {
            a.mov(ecx, ebx);
            Stop(a);
        }, Handler);
        bench.Handle(64, 0x41, Handler);
        bench.Seam.OnOut = (port, _) =>
        {
            if (port == 0x80)
                bench.Seam.Interrupt(0x41);
        };
        Assert.Equal(StopReason.Kicked, bench.Cpu.Run());
        Assert.Equal(2ul, bench.Cpu.Export().General[1]);
        Assert.Equal(0, bench.Seam.ReadCr8(0));
    }

    [KvmFact]
    public void NmiArrives()
    {
        using KvmBench bench = Started(64, a =>
        {
            a.mov(ebx, 0);
            a.hlt(); // with interrupts off
            a.add(ebx, 1);
            Stop(a);
        });
        bench.Load(64, a =>
        {
            a.add(ebx, 0x10);
            a.iretq();
        }, Handler);
        bench.Handle(64, 2, Handler);
        Assert.Equal(StopReason.Halted, bench.Cpu.Run());
        bench.Cpu.NonMaskableInterrupt();
        Assert.True(bench.Cpu.Export().NmiPending);
        Assert.Equal(StopReason.Kicked, bench.Cpu.Run());
        Assert.Equal(0x11ul, bench.Cpu.Export().General[3]);
    }

    [KvmFact]
    public void InitAndStartUp()
    {
        using KvmBench bench = Started(64, a => a.hlt());
        bench.Load(16, Stop, 0x5000);
        Assert.Equal(StopReason.Halted, bench.Cpu.Run());
        VcpuState before = bench.Cpu.Export();
        bench.Cpu.Import(before with { Activity = VcpuActivity.WaitingForStartUp });
        Assert.Equal(StopReason.WaitingForStartUp, bench.Cpu.Run());
        bench.Cpu.StartUp(5);
        Assert.Equal((byte)5, bench.Cpu.Export().StartUpVector);
        bench.Cpu.Import(VcpuReset.Init(before, CpuModel.Max, isBootProcessor: false));
        Assert.Equal(StopReason.WaitingForStartUp, bench.Cpu.Run());
        bench.Cpu.StartUp(5);
        Assert.Equal(StopReason.Kicked, bench.Cpu.Run());
        VcpuState after = bench.Cpu.Export();
        Assert.Equal((0x500, 0x5000ul), (after.Segments[SegmentIndex.Cs].Selector, after.Segments[SegmentIndex.Cs].Base));
        Assert.Equal(0ul, after.Cr0 & Cr0.Pe);
        Assert.Equal(before.Xsave, after.Xsave);
    }

    /// <summary>There is nothing at the reset vector: what KVM cannot emulate is reported, and the state says where.</summary>
    [KvmFact]
    public void InitTakesTheBootProcessorToTheResetVector()
    {
        using KvmBench bench = Started(64, a => a.hlt());
        Assert.Equal(StopReason.Halted, bench.Cpu.Run());
        bench.Cpu.Init();
        bench.Cpu.Kick();
        Assert.Equal(StopReason.Kicked, bench.Cpu.Run());
        Assert.True(bench.Cpu.Export().InitPending);
        Assert.Equal(StopReason.Failed, bench.Cpu.Run());
        Assert.StartsWith("KVM ", bench.Cpu.Failure);
        VcpuState after = bench.Cpu.Export();
        Assert.Equal((0xFFF0ul, 0xFFFF_0000ul, 0ul), (after.Rip, after.Segments[SegmentIndex.Cs].Base, after.Cr0 & Cr0.Pe));
        Assert.Equal(StopReason.Failed, bench.Cpu.Run());
    }

    [KvmFact]
    public void RegistersOfTheMachineComeToTheMachine()
    {
        using KvmBench bench = Started(64, a =>
        {
            Read(a, Msr.ApicBase);
            Read(a, Msr.MtrrCap);
            a.mov(r8, rax);
            Read(a, Msr.X2ApicFirst + 2);
            a.mov(ecx, (int)Msr.X2ApicFirst + 8);
            a.mov(eax, 0x20);
            a.xor(edx, edx);
            a.wrmsr();
            Read(a, 0x1234_5678); // #GP
            Stop(a);
        });
        bench.Load(64, a =>
        {
            a.mov(r9d, 1);
            Stop(a);
        }, Handler);
        bench.Handle(64, Vector.GeneralProtection, Handler);
        Assert.Equal(StopReason.Kicked, bench.Cpu.Run());
        Assert.Equal(["rdmsr 1b", "rdmsr fe", "rdmsr 802", "wrmsr 808=20", "rdmsr 12345678", "out f4/1=20"], bench.Seam.Notes);
        VcpuState state = bench.Cpu.Export();
        Assert.Equal((0x5000_0000_0000_00FEul, 1ul), (state.General[8], state.General[9]));

        static void Read(Assembler a, uint index)
        {
            a.mov(ecx, (int)index);
            a.rdmsr();
            a.shl(rdx, 32);
            a.or(rax, rdx);
        }
    }

    [KvmFact]
    public void ATripleFaultShutsDown()
    {
        using KvmBench bench = Started(32, a => a.ud2());
        bench.Cpu.Import(bench.Cpu.Export() with { Idtr = new TableState(0, 0) });
        Assert.Equal(StopReason.TripleFault, bench.Cpu.Run());
        Assert.Equal(StopReason.TripleFault, bench.Cpu.Run());
    }

    [KvmTheory]
    [InlineData(InjectedKind.ExternalInterrupt, 0x41, null)]
    [InlineData(InjectedKind.NonMaskable, 2, null)]
    [InlineData(InjectedKind.Exception, 6, null)]
    [InlineData(InjectedKind.Exception, 14, 0x12u)]
    public void AnEventThatAnotherEngineAcceptedComesFirst(InjectedKind kind, byte vector, uint? code)
    {
        using KvmBench bench = Started(64, a => a.ud2());
        bench.Load(64, Stop, Handler);
        bench.Handle(64, vector, Handler);
        VcpuState state = bench.Cpu.Export() with { Injected = new InjectedEvent(kind, vector, code), Cr2 = 0xABC, Activity = VcpuActivity.Halted };
        bench.Cpu.Import(state);
        Assert.True(bench.Cpu.HasWork);
        Assert.Equal(state.Injected, bench.Cpu.Export().Injected);
        Assert.Equal(StopReason.Kicked, bench.Cpu.Run());
        VcpuState after = bench.Cpu.Export();
        Assert.Null(after.Injected);
        Assert.Equal(kind == InjectedKind.NonMaskable, after.NmiBlocked);
        Assert.Equal(0xABCul, after.Cr2);
        Assert.Equal(KvmBench.Code, bench.Read(after.General[4] + (code is null ? 0ul : 8ul)));
    }

    [KvmFact]
    public void ExitsAllocateNothing()
    {
        using KvmBench bench = Started(32, a =>
        {
            Label again = a.CreateLabel();
            a.Label(ref again);
            a.mov(edi, 0x1000_0000);
            a.@in(al, 0x80);
            a.@out(0x80, al);
            a.mov(eax, __dword_ptr[edi]);
            a.mov(__dword_ptr[edi], eax);
            a.mov(ecx, (int)Msr.MtrrCap);
            a.rdmsr();
            a.inc(ebx);
            a.mov(eax, ebx);
            a.@out(0x81, eax);
            a.jmp(again);
        });
        long start = 0, end = 0;
        bench.Seam.Noting = false;
        bench.Seam.OnOut = (port, value) =>
        {
            if (port != 0x81)
                return;
            if (value == 100)
                start = GC.GetAllocatedBytesForCurrentThread();
            if (value != 1100)
                return;
            end = GC.GetAllocatedBytesForCurrentThread();
            bench.Cpu.Kick();
        };
        Assert.Equal(StopReason.Kicked, bench.Cpu.Run());
        Assert.Equal(0, end - start);
    }

    /// <summary>As when a machine leaves KVM for another engine and comes back: the kernel keeps a vCPU as long as its machine.</summary>
    [KvmFact]
    public void AVcpuCanBeMadeAgain()
    {
        using KvmBench bench = Started(64, a =>
        {
            a.inc(ebx);
            Stop(a);
            a.inc(ebx);
            Stop(a);
        });
        Assert.Equal(StopReason.Kicked, bench.Cpu.Run());
        VcpuState state = bench.Cpu.Export();
        bench.MakeAgain();
        Assert.Equal(0xFFF0ul, bench.Cpu.Export().Rip);
        bench.Cpu.Import(state);
        Assert.Equal(StopReason.Kicked, bench.Cpu.Run());
        Assert.Equal(2ul, bench.Cpu.Export().General[3]);
    }

    private static KvmBench Started(int bits, Action<Assembler> code)
    {
        KvmBench bench = new();
        bench.Load(bits, code);
        bench.Enter(bits);
        return bench;
    }

    private static void Stop(Assembler a) => a.@out(KvmBench.StopPort, al);
}
