namespace Trapline.X86;

/// <summary>The model-specific registers that travel in <see cref="VcpuState.Msrs"/>. The local APIC's and the machine's have records of their own.</summary>
public static class VcpuMsrs
{
    /// <summary>Number of machine-check banks, all of them silent.</summary>
    public const uint MachineCheckBanks = 10;

    /// <summary>In ascending order.</summary>
    public static IReadOnlyList<uint> Owned { get; } =
    [
        Msr.TscAdjust, Msr.SpecCtrl, Msr.SysenterCs, Msr.SysenterEsp, Msr.SysenterEip, Msr.McgStatus, Msr.MiscEnable, Msr.DebugCtl, Msr.Pat,
        .. Enumerable.Range((int)Msr.Mc0Control, 4 * (int)MachineCheckBanks).Select(index => (uint)index),
        Msr.Xss, Msr.Efer, Msr.Star, Msr.Lstar, Msr.Cstar, Msr.Fmask, Msr.KernelGsBase, Msr.TscAux,
    ];

    /// <summary>Whether a model has one of <see cref="Owned"/>.</summary>
    public static bool Has(CpuModel model, uint index) => index switch
    {
        Msr.TscAdjust => model.Has(Feature.TscAdjust),
        Msr.SpecCtrl => model.Has(Feature.SpecCtrl),
        Msr.MiscEnable => model.IsIntel,
        Msr.Xss => model.Has(Feature.XsaveS),
        Msr.TscAux => model.Has(Feature.Rdtscp) || model.Has(Feature.Rdpid),
        >= Msr.Mc0Control and < Msr.Mc0Control + (4 * MachineCheckBanks) => true,
        Msr.SysenterCs or Msr.SysenterEsp or Msr.SysenterEip or Msr.McgStatus or Msr.DebugCtl or Msr.Pat => true,
        Msr.Efer or Msr.Star or Msr.Lstar or Msr.Cstar or Msr.Fmask or Msr.KernelGsBase => true,
        _ => false,
    };
}
