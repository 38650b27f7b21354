using Trapline.Core;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Cpu.Tests;

/// <summary>VMCALL and VMMCALL as a KVM guest finds them: who may call, what half of the registers counts, and that no one may without the feature.</summary>
public sealed unsafe class HypercallTests
{
    private static readonly byte[] Vmcall = [0x0F, 0x01, 0xC1], Vmmcall = [0x0F, 0x01, 0xD9];

    [Theory]
    [InlineData(CodeSize.Bits64, ulong.MaxValue)]
    [InlineData(CodeSize.Bits32, 0xFFFF_FFFFul)]
    public void RingThreeIsNotPermitted(CodeSize size, ulong answer)
    {
        foreach (byte[] code in new[] { Vmcall, Vmmcall })
        {
            using CpuHarness guest = new(size);
            guest.State->Gpr[0] = 10;
            guest.State->Cpl = 3;
            Assert.Equal(1, guest.Run(code));
            Assert.Equal(answer, guest.State->Gpr[0]);
        }
    }

    [Fact]
    public void WithoutTheFeatureThereIsNoSuchInstruction()
    {
        CpuModel bare = CpuModel.Parse("max,-kvm", out _)!;
        foreach (byte[] code in new[] { Vmcall, Vmmcall })
        {
            foreach (byte ring in new byte[] { 0, 3 })
            {
                using CpuHarness guest = new(CodeSize.Bits64, bare);
                guest.State->Cpl = ring;
                Assert.Equal(0, guest.Run(code));
                Assert.Equal(Vector.InvalidOpcode, guest.Fault!.Value.Vector);
            }
        }
    }

    [Theory]
    [InlineData(CodeSize.Bits64)]
    [InlineData(CodeSize.Bits32)]
    public void NarrowCallersGiveAndGetHalves(CodeSize size)
    {
        Echo machine = new();
        using GuestMemory memory = GuestMemory.Flat(CpuHarness.MemorySize);
        using CpuHarness guest = new(size, memory, machine);
        const ulong given = 0x1111_2222_3333_4444;
        guest.State->Gpr[0] = guest.State->Gpr[3] = given;
        Assert.Equal(1, guest.Run(Vmcall));
        bool wide = size == CodeSize.Bits64;
        Assert.Equal((wide, wide ? given : given & uint.MaxValue), (machine.Is64, machine.Rbx));
        Assert.Equal(wide ? unchecked((ulong)-1000) : 0xFFFF_FC18ul, guest.State->Gpr[0]);
        Assert.Equal(given, guest.State->Gpr[3]);
    }

    /// <summary>Answers -1000 and remembers what it was asked.</summary>
    private sealed class Echo : IIoSeam
    {
        public bool Is64 { get; private set; }
        public ulong Rbx { get; private set; }
        public ulong TimeStampCounter => 0;
        public void TimeStampOffsetChanged(int vcpu, ulong offset) { }
        public uint PortIn(int vcpu, ushort port, int size) => 0;
        public void PortOut(int vcpu, ushort port, int size, uint value) { }
        public ulong MmioRead(int vcpu, Gpa address, int size) => 0;
        public void MmioWrite(int vcpu, Gpa address, int size, ulong value) { }
        public byte ReadCr8(int vcpu) => 0;
        public void WriteCr8(int vcpu, byte value) { }
        public bool WriteMsr(int vcpu, uint index, ulong value) => false;

        public bool ReadMsr(int vcpu, uint index, out ulong value)
        {
            value = 0;
            return false;
        }

        public void Hypercall(int vcpu, Span<ulong> registers, bool is64)
        {
            (Is64, Rbx) = (is64, registers[3]);
            registers[0] = unchecked((ulong)-1000);
        }
    }
}
