using Trapline.Cpu.Mmu;
using Trapline.X86;

namespace Trapline.Cpu.Tests;

/// <summary>The PK bit of #PF error codes (SDM Vol. 3, 4.7).</summary>
public sealed unsafe class ProtectionKeyTests : IDisposable
{
    private const byte Key = 3;
    private const uint Both = PageFaultCode.Present | PageFaultCode.ProtectionKey;

    private readonly CpuHarness _cpu = new();

    public ProtectionKeyTests() => _cpu.State->Cr4 |= Cr4.Pke;

    public void Dispose() => _cpu.Dispose();

    [Theory]
    [InlineData(0u, true, Access.User | Access.Write, PageFaultCode.Present)]
    [InlineData(1u, true, Access.User | Access.Write, Both)]
    [InlineData(1u, false, Access.User, Both)]
    [InlineData(2u, true, Access.User | Access.Write, Both)]
    [InlineData(2u, true, Access.User, 0u)]
    [InlineData(1u, false, Access.User | Access.Fetch, 0u)]
    public void Key_that_forbids_is_reported_beside_other_causes(uint rights, bool readOnly, Access access, uint cause)
    {
        _cpu.State->Pkru = rights << (Key * 2);
        TlbEntry entry = new() { ProtectionKey = Key, Rights = TlbRights.User | (readOnly ? 0 : TlbRights.Writable) };
        Assert.Equal(cause, _cpu.Cpu.Mmu.Walker.Denied(entry, access));
    }

    [Fact]
    public void Kernel_page_has_no_key()
    {
        _cpu.State->Pkru = 1u << (Key * 2);
        TlbEntry entry = new() { ProtectionKey = Key, Rights = TlbRights.Writable };
        Assert.Equal(PageFaultCode.Present, _cpu.Cpu.Mmu.Walker.Denied(entry, Access.User));
    }
}
