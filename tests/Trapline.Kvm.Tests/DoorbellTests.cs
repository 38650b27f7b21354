using Iced.Intel;
using Trapline.Core;
using Trapline.Host;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Kvm.Tests;

/// <summary>Writes that ring a bell stay in the kernel; every other one comes out.</summary>
public sealed class DoorbellTests
{
    private const int Window = 0x1000_0000;

    [DoorbellFact]
    public void OnlyTheWriteThatRingsStaysInside()
    {
        using EventSet events = new(2);
        using KvmBench bench = new();
        bench.Load(32, a =>
        {
            Label again = a.CreateLabel();
            a.Label(ref again);
            a.mov(edx, 0xC010);
            a.mov(eax, 0x1_0003);
            a.@out(dx, ax); // rings
            a.@out(dx, al);
            a.@out(dx, eax);
            a.inc(eax);
            a.@out(dx, ax); // another value
            a.mov(edi, Window);
            a.mov(__word_ptr[edi + 4], ax); // rings, as do all lengths
            a.mov(__byte_ptr[edi + 4], 9);
            a.mov(__word_ptr[edi + 6], ax);
            a.@out(KvmBench.StopPort, al);
            a.jmp(again);
        });
        bench.Enter(32);
        IDoorbellKeeper keeper = bench.Vm.Doorbells!;
        Doorbell port = new(0x10, 2, 3, events[0]), memory = new(4, 0, null, events[1]);
        keeper.Add(isPort: true, 0xC010, port);
        keeper.Add(isPort: false, Window + 4, memory);
        string[] others = ["out c010/1=3", "out c010/4=10003", "out c010/2=4", $"store {Window + 6:x}/2=4", "out f4/1=4"];
        Assert.Equal(StopReason.Kicked, bench.Cpu.Run());
        Assert.Equal(others, bench.Seam.Notes);
        Assert.Equal([0, 1], ((int[])[events.Wait(), events.Wait()]).Order());

        keeper.Remove(isPort: true, 0xC010, port);
        keeper.Remove(isPort: false, Window + 4, memory);
        bench.Seam.Notes.Clear();
        Assert.Equal(StopReason.Kicked, bench.Cpu.Run());
        Assert.Equal(["out c010/2=3", .. others[..3], $"store {Window + 4:x}/2=4", $"store {Window + 4:x}/1=9", .. others[3..]], bench.Seam.Notes);
    }

    /// <summary>Needs a kernel that answers doorbells of any length.</summary>
    [AttributeUsage(AttributeTargets.Method)]
    private sealed class DoorbellFactAttribute : FactAttribute
    {
        public DoorbellFactAttribute()
        {
            using KvmDevice? device = KvmDevice.TryOpen(out string? obstacle);
            Skip = obstacle ?? (device!.Check(Abi.KvmCapability.IoEventAnyLength) == 0 ? "this kernel's KVM has no ioeventfd of any length" : null);
        }
    }
}
