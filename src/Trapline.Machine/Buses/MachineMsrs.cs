using Trapline.Core;
using Trapline.X86;

namespace Trapline.Machine;

/// <summary>State of one vCPU's machine-side model-specific registers.</summary>
/// <param name="Variable">Base and mask of each variable-range MTRR.</param>
[SavedState("machine-msrs", 1)]
internal sealed record MachineMsrsState(ulong[] Variable, ulong[] Fixed, ulong DefaultType, ulong Pat, ulong MiscEnable, ulong McgStatus);

/// <summary>One vCPU's model-specific registers that neither the engine nor the local APIC owns: memory types and platform facts.</summary>
/// <remarks>Memory types have no effect in software; the registers keep what the guest writes and refuse what a processor refuses (SDM Vol. 3, 12.11).</remarks>
internal sealed class MachineMsrs : ISavedDevice<MachineMsrsState>
{
    private const uint PlatformId = 0x17, MicrocodeTrigger = 0x79, MicrocodeRevision = 0x8B, PlatformInfo = 0xCE;
    private const uint McgCap = 0x179, McgStatus = 0x17A;
    private const uint LastBranchFirst = 0x1DB, LastBranchLast = 0x1DE;
    private const uint MtrrVariableFirst = 0x200, MtrrVariableLast = MtrrVariableFirst + (VariableRanges * 2) - 1;
    private const uint MtrrDefaultType = 0x2FF;
    private const int VariableRanges = 8;

    /// <summary>Fast strings, BTS and PEBS unavailable.</summary>
    private const ulong MiscEnableAtReset = (1 << 0) | (1 << 11) | (1 << 12);
    private const ulong MiscEnableMonitor = 1 << 18;
    private const ulong MiscEnableWritable = (1ul << 0) | (1 << 3) | (1 << 7) | (1 << 16) | MiscEnableMonitor | (1 << 22) | (1 << 23) | (1ul << 34);

    private readonly ulong[] _variable = new ulong[VariableRanges * 2];
    private readonly ulong[] _fixed = new ulong[11];
    private readonly ulong _addressMask;
    private ulong _defaultType, _pat, _miscEnable, _mcgStatus;

    public MachineMsrs(int physicalAddressBits, bool monitor)
    {
        _addressMask = (1ul << physicalAddressBits) - 1;
        Reset(monitor);
    }

    /// <summary>What firmware leaves: write-back everywhere but the VGA window and the PCI hole.</summary>
    public void Reset(bool monitor)
    {
        const ulong writeBack = 0x0606_0606_0606_0606;
        Array.Clear(_variable);
        _variable[0] = MachineConstants.LowMemoryLimit;
        _variable[1] = (_addressMask & ~(MachineConstants.HighMemoryStart - MachineConstants.LowMemoryLimit - 1)) | (1 << 11);
        Array.Fill(_fixed, writeBack);
        _fixed[2] = 0;
        _defaultType = 0xC06;
        _pat = 0x0007_0406_0007_0406;
        _miscEnable = MiscEnableAtReset | (monitor ? MiscEnableMonitor : 0);
        _mcgStatus = 0;
    }

    public MachineMsrsState Save() => new((ulong[])_variable.Clone(), (ulong[])_fixed.Clone(), _defaultType, _pat, _miscEnable, _mcgStatus);

    public void Restore(MachineMsrsState state)
    {
        state.Variable.CopyTo(_variable, 0);
        state.Fixed.CopyTo(_fixed, 0);
        (_defaultType, _pat, _miscEnable, _mcgStatus) = (state.DefaultType, state.Pat, state.MiscEnable, state.McgStatus);
    }

    public bool TryRead(uint index, out ulong value)
    {
        switch (index)
        {
            case PlatformId or Msr.DebugCtl or (>= LastBranchFirst and <= LastBranchLast): value = 0; return true;
            case Msr.FeatureControl: value = 1; return true; // locked, no VMX
            case MicrocodeRevision: value = 1ul << 32; return true;
            case PlatformInfo: value = (ulong)(MachineConstants.TscHertz / 100_000_000) << 8; return true;
            case Msr.MtrrCap: value = VariableRanges | (1 << 8) | (1 << 10); return true;
            case McgCap: value = 0; return true; // no banks
            case McgStatus: value = _mcgStatus; return true;
            case Msr.MiscEnable: value = _miscEnable; return true;
            case Msr.Pat: value = _pat; return true;
            case MtrrDefaultType: value = _defaultType; return true;
            case >= MtrrVariableFirst and <= MtrrVariableLast: value = _variable[index - MtrrVariableFirst]; return true;
        }
        int range = FixedRange(index);
        value = range < 0 ? 0 : _fixed[range];
        return range >= 0;
    }

    public bool TryWrite(uint index, ulong value)
    {
        switch (index)
        {
            case Msr.DebugCtl: return value == 0;
            case MicrocodeTrigger: return true; // no update is ever accepted
            case MicrocodeRevision: return true; // written as 0 before CPUID loads it
            case McgStatus:
                if (value > 7)
                    return false;
                _mcgStatus = value;
                return true;
            case Msr.MiscEnable:
                _miscEnable = (_miscEnable & ~MiscEnableWritable) | (value & MiscEnableWritable);
                return true;
            case Msr.Pat:
                if (!AreTypes(value, allowUncachedMinus: true))
                    return false;
                _pat = value;
                return true;
            case MtrrDefaultType:
                if ((value & ~0xCFFul) != 0 || !AreTypes(value & 0xFF, false))
                    return false;
                _defaultType = value;
                return true;
            case >= MtrrVariableFirst and <= MtrrVariableLast:
                bool isMask = (index & 1) != 0;
                ulong low = value & 0xFFF;
                bool valid = (value & ~0xFFFul & ~_addressMask) == 0 && (isMask ? (low & ~0x800ul) == 0 : low <= 0xFF && AreTypes(low, false));
                if (valid)
                    _variable[index - MtrrVariableFirst] = value;
                return valid;
        }
        int range = FixedRange(index);
        if (range < 0 || !AreTypes(value, false))
            return false;
        _fixed[range] = value;
        return true;
    }

    private static int FixedRange(uint index) => index switch
    {
        0x250 => 0,
        0x258 => 1,
        0x259 => 2,
        >= 0x268 and <= 0x26F => (int)(index - 0x268) + 3,
        _ => -1,
    };

    /// <summary>Every byte is a memory type: UC 0, WC 1, WT 4, WP 5, WB 6, and UC- 7 in the PAT.</summary>
    private static bool AreTypes(ulong value, bool allowUncachedMinus)
    {
        for (; value != 0; value >>= 8)
        {
            if ((byte)value is 2 or 3 or > 7 || ((byte)value == 7 && !allowUncachedMinus))
                return false;
        }
        return true;
    }
}
