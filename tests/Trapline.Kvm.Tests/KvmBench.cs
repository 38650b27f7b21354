using Iced.Intel;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Kvm.Tests;

/// <summary>One vCPU under KVM, 4 MiB of RAM, and a seam that notes what arrives.</summary>
internal sealed class KvmBench : IDisposable
{
    public const ulong Code = FlatGuest.Code;

    /// <summary>A write to this port kicks the vCPU: <see cref="KvmVcpu.Run"/> returns.</summary>
    public const byte StopPort = 0xF4;

    private readonly KvmVm _vm;
    private readonly FlatGuest _guest;
    private readonly CpuModel _model;

    public KvmBench(CpuModel? model = null, GuestMemory? memory = null)
    {
        Memory = memory ?? GuestMemory.Flat(4 << 20);
        _guest = new FlatGuest(Memory);
        KvmDevice device = KvmDevice.TryOpen(out string? obstacle) ?? throw new InvalidOperationException(obstacle);
        _vm = new KvmVm(device, Memory);
        _model = model ?? CpuModel.Max;
        Seam.Owner = Cpu = new KvmVcpu(_vm, 0, 1, _model, Seam, Seam);
    }

    public KvmVm Vm => _vm;

    public NotingSeam Seam { get; } = new();

    public GuestMemory Memory { get; }

    public KvmVcpu Cpu { get; private set; }

    public void Load(int bits, Action<Assembler> code, ulong address = Code) => _guest.Load(bits, code, address);

    public ulong Read(ulong address) => _guest.Read(address);

    /// <summary>Puts the vCPU at <see cref="Code"/>.</summary>
    public void Enter(int bits)
    {
        Cpu.Import(_guest.Enter(bits, Cpu.Model));
        Seam.Notes.Clear();
    }

    /// <summary>Replaces the vCPU by a new one of the same machine.</summary>
    public void MakeAgain()
    {
        Cpu.Dispose();
        Seam.Owner = Cpu = new KvmVcpu(_vm, 0, 1, _model, Seam, Seam);
    }

    public void Handle(int bits, byte vector, ulong at) => _guest.Handle(bits, vector, at);

    public void Dispose()
    {
        Cpu.Dispose();
        _vm.Dispose();
        Memory.Dispose();
    }
}
