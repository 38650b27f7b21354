using Iced.Intel;
using Trapline.Cpu.Mmu;
using Trapline.Cpu.Translator.Emit;
using Trapline.Cpu.Translator.Runtime;

namespace Trapline.Cpu.Translator.Debugging;

/// <summary>Names for what emitted code refers to by address: state, soft TLB, jump cache, stubs, and places in the translation itself.</summary>
internal sealed unsafe class HostSymbols : ISymbolResolver
{
    private readonly Dictionary<ulong, string> _data = [];
    private readonly Dictionary<ulong, string> _code;
    private readonly (ulong Start, ulong End) _tlb;
    private nint _hot, _cold;
    private int _hotBytes, _coldBytes;

    public HostSymbols(Addresses addresses, Stubs stubs, LowLayout low)
    {
        _code = new()
        {
            [(ulong)stubs.ExitByCall] = "exit",
            [(ulong)stubs.LoadVectors] = "load_vectors",
            [(ulong)stubs.LoadX87] = "load_x87",
            [(ulong)stubs.Bottom] = "return_stack_bottom",
            [(ulong)stubs.Mismatch] = "wrong_return",
            [(ulong)stubs.Dispatch] = "dispatch",
            [(ulong)stubs.Miss] = "unknown_target",
        };
        if (stubs.ReadTime != 0)
            _code[(ulong)stubs.ReadTime] = "read_time";
        (HostAddress Address, string Name)[] data =
        [
            (addresses.ShadowRsp, "return_stack"), (addresses.ShadowTop, "return_stack_top"), (addresses.WindowPage, "window_page"),
            (addresses.WindowDelta, "window_delta"), (addresses.Flags, "flags"),
            (addresses.Spill, "spill"), (addresses.Held, "held"), (addresses.VectorsLoaded, "vectors_loaded"), (addresses.CodeKey, "code_key"),
            (addresses.ExitAddress, "exit_address"), (addresses.LastReturn, "last_return"), (addresses.Attention, "attention"), (addresses.Calm, "calm"),
            (addresses.RFlags, "rflags"), (addresses.HeldInterrupt, "held_interrupt"), (addresses.GsBase, "gs"),
            (addresses.KernelGsBase, "kernel_gs"), (addresses.Mxcsr, "mxcsr"), (addresses.Instructions, "instructions"),
            (addresses.X87, "x87_place"), (addresses.X87Last, "x87_last"), (addresses.X87Segment, "x87_segment"), (addresses.X87Control, "x87_control"),
            (addresses.X87Image, "x87_image"), (addresses.Fdp, "x87_data_pointer"), (addresses.StopAddress, "stop_address"), (addresses.IndexBits, "index_bits"), (addresses.PageBits, "page_bits"),
        ];
        foreach ((HostAddress address, string name) in data)
            _data[(ulong)address.Disp] = name;
        foreach (int number in (ReadOnlySpan<int>)[0, 2, 3, 4])
            _data[(ulong)addresses.Control(number).Disp] = $"cr{number}";
        _data[(ulong)addresses.Keys.Disp] = "pkru";
        _data[(ulong)addresses.TscAux.Disp] = "tsc_aux";
        _data[(ulong)addresses.RFlags.Disp + 1] = "rflags+1";
        for (int i = 0; i < 16; i++)
        {
            _data[(ulong)addresses.Gpr(i).Disp] = "guest_" + (Register.RAX + i).ToString().ToLowerInvariant();
            _data[(ulong)addresses.Ymm(i).Disp] = $"guest_ymm{i}";
        }
        for (int slot = 1; slot <= TranslationFrame.AddendSlots; slot++)
            _data[(ulong)addresses.Addend(slot).Disp] = $"addend{slot}";
        for (int i = 0; i < 6; i++)
            _data[(ulong)addresses.SegmentBase(i).Disp] = (Register.ES + i).ToString().ToLowerInvariant() + "_base";
        for (int context = 0; context < SoftTlb.Contexts; context++)
        {
            foreach (bool write in (ReadOnlySpan<bool>)[false, true])
            {
                ulong tags = (ulong)addresses.TlbTags(context, write);
                _data[tags] = write ? "write_tags" : "read_tags";
                _data[tags + SoftTlb.Entries * sizeof(ulong)] = write ? "write_addends" : "read_addends";
                foreach (bool saved in (ReadOnlySpan<bool>)[false, true])
                    _code[(ulong)stubs.Refill(context, write, saved)] = $"refill_{(write ? "write" : "read")}{(saved ? "_keeping_flags" : "")}";
            }
        }
        for (int context = 0; context < LowLayout.ShadowStacks; context++)
            _code[low.ShadowLimit(context)] = "return_stack_limit";
        _tlb = ((ulong)low.Tlb, (ulong)low.Tlb + SoftTlb.Bytes);
        _data[(ulong)low.JumpKeys] = "jump_keys";
        _data[(ulong)low.JumpTargets] = "jump_targets";
        _data[(ulong)low.Equal] = "equal";
        for (int number = 0; number < 16; number++)
            _data[(ulong)(low.ScopeIsCurrent + number)] = $"scope_is_current+{number}";
    }

    /// <summary>Addresses in this translation are shown relative to its two parts.</summary>
    public void Within(nint hot, int hotBytes, nint cold = 0, int coldBytes = 0) => (_hot, _hotBytes, _cold, _coldBytes) = (hot, hotBytes, cold, coldBytes);

    private static string? Part(string name, ulong address, nint start, int length) =>
        address >= (ulong)start && address < (ulong)start + (ulong)length ? $"{name}+0x{address - (ulong)start:x}" : null;

    public bool TryGetSymbol(in Instruction instruction, int operand, int instructionOperand, ulong address, int addressSize, out SymbolResult symbol)
    {
        symbol = default;
        if (instructionOperand < 0)
            return false;
        string? name = instruction.GetOpKind(instructionOperand) switch
        {
            OpKind.Memory => _data.GetValueOrDefault(address) ?? SlotOf(address),
            OpKind.NearBranch64 => Part("", address, _hot, _hotBytes) ?? Part("out", address, _cold, _coldBytes) ?? _code.GetValueOrDefault(address),
            _ => _code.GetValueOrDefault(address),
        };
        if (name == null)
            return false;
        symbol = new SymbolResult(address, name);
        return true;
    }

    /// <summary>An entry of the soft TLB, by the array it is in: what a constant address is compared with.</summary>
    private string? SlotOf(ulong address)
    {
        const ulong Array = SoftTlb.Entries * sizeof(ulong);
        if (address < _tlb.Start || address >= _tlb.End)
            return null;
        ulong offset = (address - _tlb.Start) % Array;
        return $"{_data[address - offset]}+0x{offset:x}";
    }
}
