using System.Text.Json;
using Iced.Intel;
using Trapline.Core;
using Trapline.Cpu;
using Trapline.Cpu.Translator;
using Trapline.Kvm;
using Trapline.Memory;
using Trapline.Testing;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;

namespace Engines.Differential;

/// <summary>The same small guests on interpreter, translator and KVM: the same I/O in the same order, the same state and the same memory at the end.</summary>
public sealed class KvmGuestTests
{
    private const ulong Handler = 0x9000;

    [KvmTheory]
    [InlineData(16)]
    [InlineData(32)]
    [InlineData(64)]
    public void Integers(int bits) => Compare(bits, a =>
    {
        Label again = a.CreateLabel();
        a.mov(ecx, 60);
        a.mov(eax, 0x1234567);
        a.mov(ebx, 0x89ABCDEF);
        a.Label(ref again);
        a.adc(eax, ebx);
        a.rol(ebx, 7);
        a.sbb(edx, eax);
        a.imul(esi, edx, 77);
        a.bsf(edi, ebx);
        a.push(dx);
        a.xor(__word_ptr[0x6000], ax);
        a.pop(bp);
        a.shld(eax, edx, 5);
        a.btc(eax, 9);
        a.dec(ecx);
        a.jnz(again);
        a.test(eax, eax); // all flags defined
    });

    [KvmTheory]
    [InlineData(16)]
    [InlineData(32)]
    [InlineData(64)]
    public void Strings(int bits) => Compare(bits, a =>
    {
        a.mov(edi, 0x6000);
        a.mov(eax, 0x61626364);
        a.mov(ecx, 100);
        a.cld();
        a.rep.stosd();
        a.mov(esi, 0x6000);
        a.mov(edi, 0x6402);
        a.mov(ecx, 77);
        a.rep.movsw();
        a.mov(edi, 0x6000);
        a.mov(ecx, 300);
        a.mov(al, 0x62);
        a.repne.scasb();
        a.mov(dx, 0x300);
        a.mov(esi, 0x6000);
        a.mov(ecx, 6);
        a.rep.outsb();
        a.mov(edi, 0x6800);
        a.mov(ecx, 3);
        a.rep.insd();
        a.test(eax, eax);
    });

    [KvmTheory(hardware: true)]
    [InlineData(16)]
    [InlineData(32)]
    [InlineData(64)]
    public void TheFpuAndVectors(int bits) => Compare(bits, a =>
    {
        if (bits == 64)
            a.mov(rax, cr4);
        else
            a.mov(eax, cr4);
        a.or(eax, (int)(Cr4.OsFxsr | Cr4.OsXmmExcpt));
        if (bits == 64)
            a.mov(cr4, rax);
        else
            a.mov(cr4, eax);
        a.fninit();
        a.fldpi();
        a.fld1();
        a.fadd(st0, st1);
        a.fsqrt();
        a.fstp(__qword_ptr[0x6000]);
        a.fidiv(__word_ptr[0x6002]);
        a.mov(eax, 0x3FC00000);
        a.movd(xmm1, eax);
        a.pshufd(xmm2, xmm1, 0);
        a.addps(xmm2, xmm2);
        a.mulps(xmm2, xmm1);
        a.movups(__xmmword_ptr[0x6010], xmm2);
        a.cvttps2dq(xmm3, xmm2);
        a.fnstsw(ax);
        a.stmxcsr(__dword_ptr[0x6030]);
        a.test(eax, eax);
    });

    [KvmTheory]
    [InlineData(32)]
    [InlineData(64)]
    public void SegmentsAndTables(int bits) => Compare(bits, a =>
    {
        a.mov(ax, FlatGuest.DataSelector);
        a.mov(ds, ax);
        a.mov(fs, ax);
        a.xor(eax, eax);
        a.mov(es, ax);
        a.mov(ax, FlatGuest.UserDataSelector);
        a.mov(gs, ax);
        a.sgdt(__[0x6000]);
        a.sidt(__[0x6010]);
        a.str(cx);
        a.sldt(dx);
        a.smsw(bx);
        a.test(eax, eax);
    });

    [KvmTheory(hardware: true)]
    [InlineData(32)]
    [InlineData(64)]
    public void DescriptorsLookedAt(int bits) => Compare(bits, a =>
    {
        a.mov(eax, FlatGuest.UserDataSelector);
        a.lar(esi, eax);
        a.lsl(edi, eax);
        a.verw(ax);
    });

    [KvmTheory]
    [InlineData(Vector.InvalidOpcode)]
    [InlineData(Vector.DivideError)]
    [InlineData(Vector.GeneralProtection)]
    [InlineData(Vector.PageFault)]
    public void Exceptions(byte vector) => Compare(64, a =>
    {
        a.xor(ecx, ecx);
        a.stc();
        switch (vector)
        {
            case Vector.InvalidOpcode: a.ud2(); break;
            case Vector.DivideError: a.div(ecx); break;
            case Vector.GeneralProtection: a.mov(ecx, 0x1234_5678); a.wrmsr(); break;
            default: a.mov(ecx, __dword_ptr[0x4000_0010]); break; // beyond what is mapped
        }
    }, guest =>
    {
        guest.Handle(64, vector, Handler);
        guest.Load(64, a =>
        {
            a.pop(r10); // the error code, or the address
            a.mov(r11, cr2);
            a.@out(0xF4, al);
        }, Handler);
    });

    [KvmFact(hardware: true)]
    public void InterruptsByInstructionAndReturn() => Compare(64, a =>
    {
        a.mov(ebx, 1);
        a.@int(0x41);
        a.shl(ebx, 4);
        a.@int(0x41);
        a.stc();
    }, guest =>
    {
        guest.Handle(64, 0x41, Handler);
        guest.Load(64, a =>
        {
            a.inc(ebx);
            a.mov(rcx, __[rsp + 16]); // the flags
            a.iretq();
        }, Handler);
    });

    [KvmFact]
    public void ModelSpecificRegisters() => Compare(64, a =>
    {
        foreach ((uint index, long value) in new (uint, long)[]
            { (Msr.Star, 0x0020_0008_1234_5678), (Msr.Lstar, 0x12_3456), (Msr.Fmask, 0x4700), (Msr.KernelGsBase, 0x77_0000), (Msr.SysenterCs, 8), (Msr.SysenterEsp, 0x1234_0000), (Msr.Pat, 0x0007_0406_0007_0401) })
        {
            a.mov(ecx, (int)index);
            a.mov(eax, (int)value);
            a.mov(edx, (int)(value >> 32));
            a.wrmsr();
            a.xor(eax, eax);
            a.rdmsr();
            a.add(r8, rax);
            a.add(r9, rdx);
        }
        a.swapgs();
        a.mov(eax, 0x55);
        a.mov(dr0, rax);
        a.mov(r12, dr7);
        a.test(eax, eax);
    });

    [KvmFact]
    public void FromRealModeToLongMode() => Compare(16, a =>
    {
        a.lgdt(__[0x6000]);
        a.mov(eax, 0x20);
        a.mov(cr4, eax);
        a.mov(eax, 0x20000);
        a.mov(cr3, eax);
        a.mov(ecx, unchecked((int)Msr.Efer));
        a.mov(eax, 0x100);
        a.xor(edx, edx);
        a.wrmsr();
        a.mov(eax, cr0);
        a.or(eax, unchecked((int)0x8000_0001));
        a.mov(cr0, eax);
        a.db(0x66, 0xEA, 0x00, 0x90, 0x00, 0x00, 0x08, 0x00); // jmp 8:9000h
    }, guest =>
    {
        guest.Enter(64, CpuModel.Max); // its tables
        guest.Memory.TryWrite(new Gpa(0x6000), [0x37, 0, .. BitConverter.GetBytes((uint)FlatGuest.Gdt)]);
        guest.Load(64, a =>
        {
            a.mov(ax, FlatGuest.DataSelector);
            a.mov(ss, ax);
            a.mov(rax, 0x1122334455667788);
            a.push(rax);
            a.pop(r15);
            a.@out(0xF4, al);
        }, Handler);
    });

    private static void Compare(int bits, Action<Assembler> code, Action<FlatGuest>? prepare = null)
    {
        using Runner kvm = Runner.OnKvm();
        using Runner interpreter = new(kvm.Model, translate: false), translator = new(kvm.Model, translate: true);
        foreach (Runner runner in new[] { kvm, interpreter, translator })
        {
            runner.Guest.Load(bits, a =>
            {
                code(a);
                a.@out(0xF4, al);
            });
            VcpuState start = runner.Guest.Enter(bits, kvm.Model);
            prepare?.Invoke(runner.Guest);
            runner.Cpu.Import(start);
            Assert.True(runner.Cpu.Run() == StopReason.Kicked, $"{runner.Cpu.GetType().Name}: {runner.Cpu.Failure ?? runner.Text}");
        }
        foreach (Runner other in new[] { translator, kvm })
        {
            Assert.Equal(interpreter.Seam.Notes, other.Seam.Notes);
            Assert.Equal(interpreter.Text, other.Text);
            Assert.Equal(interpreter.Memory(), other.Memory());
        }
    }

    private sealed class Runner : IDisposable
    {
        private readonly GuestMemory _memory = GuestMemory.Flat(4 << 20);
        private readonly KvmVm? _vm;

        private Runner(KvmDevice device)
        {
            Guest = new FlatGuest(_memory);
            _vm = new KvmVm(device, _memory);
            Model = GuestCpuid.Restrict(CpuModel.Max, device, VcpuTsc.IsModels(device, CpuModel.Max));
            Cpu = new KvmVcpu(_vm, 0, 1, Model, Seam, Seam);
            Seam.Owner = Cpu;
        }

        public Runner(CpuModel model, bool translate)
        {
            Guest = new FlatGuest(_memory);
            SoftwareVcpu cpu = new(0, _memory, model, Seam, Seam);
            (Cpu, Model, Seam.Owner) = (cpu, model, cpu);
            if (translate)
                cpu.EnableTranslator(new TranslatorOptions());
        }

        public IVcpuEngine Cpu { get; }
        public CpuModel Model { get; }
        public FlatGuest Guest { get; }
        public Seam Seam { get; } = new();

        /// <summary>The state but for what depends on when it is taken.</summary>
        public string Text => JsonSerializer.Serialize(Cpu.Export() with { TimeStampCounter = 0 }, new JsonSerializerOptions { WriteIndented = true });

        public static Runner OnKvm() => new(KvmDevice.TryOpen(out string? obstacle) ?? throw new InvalidOperationException(obstacle));

        public byte[] Memory()
        {
            byte[] all = new byte[4 << 20];
            _memory.TryRead(new Gpa(0), all);
            return all;
        }

        public void Dispose()
        {
            Cpu.Dispose();
            _vm?.Dispose();
            _memory.Dispose();
        }
    }

    /// <summary>Notes I/O, answers with numbers, and stops the vCPU at port 0xF4.</summary>
    private sealed class Seam : IIoSeam, IInterruptSource
    {
        private byte _priority;

        public IVcpuEngine? Owner { get; set; }
        public List<string> Notes { get; } = [];
        public ulong TimeStampCounter => 0x1234_5678;
        public bool Pending => false;
        public int Acknowledge() => -1;

        public uint PortIn(int vcpu, ushort port, int size)
        {
            Notes.Add($"in {port:x}/{size}");
            return 0x8765_4321u + (uint)Notes.Count;
        }

        public void PortOut(int vcpu, ushort port, int size, uint value)
        {
            Notes.Add($"out {port:x}/{size}={value:x}");
            if (port == 0xF4)
                Owner!.Kick();
        }

        public ulong MmioRead(int vcpu, Gpa address, int size) => 0x1122_3344_5566_7788;
        public void MmioWrite(int vcpu, Gpa address, int size, ulong value) => Notes.Add($"store {address.Value:x}/{size}={value:x}");

        public bool ReadMsr(int vcpu, uint index, out ulong value)
        {
            value = 0xFEE0_0900;
            return index == Msr.ApicBase;
        }

        public bool WriteMsr(int vcpu, uint index, ulong value) => false;
        public byte ReadCr8(int vcpu) => _priority;
        public void WriteCr8(int vcpu, byte value) => _priority = value;
        public void Hypercall(int vcpu, Span<ulong> registers, bool is64) { }
        public void TimeStampOffsetChanged(int vcpu, ulong offset) { }
    }
}
