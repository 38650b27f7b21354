using Trapline.Core;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Kvm.Tests;

/// <summary>No wake-up is lost, wherever it meets the vCPU: before the kernel, inside, on the way out, or asleep.</summary>
public sealed class KickTests
{
    private const int Rounds = 2_000;
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    /// <summary>The guest never leaves by itself. Each kick must end one call of Run before the next kick is sent.</summary>
    [KvmFact]
    public void EveryKickEndsARun()
    {
        using KvmBench bench = new();
        bench.Load(64, a =>
        {
            Iced.Intel.Label again = a.CreateLabel();
            a.Label(ref again);
            a.inc(rbx);
            a.jmp(again);
        });
        bench.Enter(64);
        long returns = 0;
        bool end = false;
        Thread vcpu = new(() =>
        {
            while (!Volatile.Read(ref end))
            {
                Assert.Equal(StopReason.Kicked, bench.Cpu.Run());
                Interlocked.Increment(ref returns);
            }
        });
        vcpu.Start();
        Random random = new(1);
        for (int round = 0; round < Rounds; round++)
        {
            long before = Interlocked.Read(ref returns);
            Thread.SpinWait(random.Next(200));
            bench.Cpu.Kick();
            Assert.True(SpinWait.SpinUntil(() => Interlocked.Read(ref returns) != before, Limit), $"kick {round} was lost");
        }
        Volatile.Write(ref end, true);
        bench.Cpu.Kick();
        Assert.True(vcpu.Join(Limit));
    }

    /// <summary>The guest sleeps in HLT between interrupts and counts them; each must be counted before the next is sent.</summary>
    [KvmFact]
    public void EveryInterruptIsDelivered()
    {
        using KvmBench bench = new();
        bench.Load(64, a =>
        {
            Iced.Intel.Label again = a.CreateLabel();
            a.sti();
            a.Label(ref again);
            a.hlt();
            a.jmp(again);
        });
        bench.Load(64, a =>
        {
            a.@out(0x80, al);
            a.iretq();
        }, 0x9000);
        bench.Handle(64, 0x41, 0x9000);
        bench.Enter(64);
        bench.Seam.Noting = false;
        using AutoResetEvent wake = new(initialState: false);
        bool end = false;
        Thread vcpu = new(() =>
        {
            while (!Volatile.Read(ref end))
            {
                if (bench.Cpu.Run() == StopReason.Halted && !bench.Cpu.HasWork)
                    wake.WaitOne();
            }
        });
        vcpu.Start();
        Random random = new(2);
        for (int round = 0; round < Rounds / 2; round++)
        {
            long before = bench.Seam.PortWrites;
            Thread.SpinWait(random.Next(300));
            bench.Seam.Interrupt(0x41);
            wake.Set();
            Assert.True(SpinWait.SpinUntil(() => bench.Seam.PortWrites != before, Limit), $"interrupt {round} was lost");
        }
        Volatile.Write(ref end, true);
        bench.Cpu.Kick();
        wake.Set();
        Assert.True(vcpu.Join(Limit));
        Assert.Equal(Rounds / 2, bench.Cpu.Counters.Interrupts);
    }

    /// <summary>Many senders at once, of kicks and of interrupts, on a guest that does I/O: nothing is lost and the signal queue does not fill.</summary>
    [KvmFact]
    public void ManySendersAtOnce()
    {
        using KvmBench bench = new();
        bench.Load(64, a =>
        {
            Iced.Intel.Label again = a.CreateLabel();
            a.sti();
            a.Label(ref again);
            a.@in(al, 0x81);
            a.jmp(again);
        });
        bench.Load(64, a =>
        {
            a.@out(0x80, al);
            a.iretq();
        }, 0x9000);
        bench.Handle(64, 0x41, 0x9000);
        bench.Enter(64);
        bench.Seam.Noting = false;
        bool end = false;
        Thread vcpu = new(() =>
        {
            while (!Volatile.Read(ref end))
                Assert.Equal(StopReason.Kicked, bench.Cpu.Run());
        });
        vcpu.Start();
        Thread[] kickers = [.. Enumerable.Range(0, 3).Select(_ => new Thread(() =>
        {
            while (!Volatile.Read(ref end))
                bench.Cpu.Kick();
        }))];
        foreach (Thread kicker in kickers)
            kicker.Start();
        for (int round = 0; round < 100; round++)
        {
            long before = bench.Seam.PortWrites;
            bench.Seam.Interrupt(0x41);
            Assert.True(SpinWait.SpinUntil(() => bench.Seam.PortWrites != before, Limit), $"interrupt {round} was lost");
        }
        Volatile.Write(ref end, true);
        bench.Cpu.Kick();
        Assert.True(vcpu.Join(Limit));
        foreach (Thread kicker in kickers)
            Assert.True(kicker.Join(Limit));
    }
}
