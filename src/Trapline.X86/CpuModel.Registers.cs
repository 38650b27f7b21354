namespace Trapline.X86;

/// <summary>Which bits of the control registers a model has.</summary>
public sealed partial class CpuModel
{
    /// <summary>CR4 bits that can be set.</summary>
    public ulong Cr4Bits
    {
        get
        {
            ulong bits = Cr4.Tsd | Cr4.Mce | Cr4.Pce | Cr4.OsFxsr | Cr4.OsXmmExcpt;
            Allow(Feature.Vme, Cr4.Vme | Cr4.Pvi);
            Allow(Feature.De, Cr4.De);
            Allow(Feature.Pse, Cr4.Pse);
            Allow(Feature.Pae, Cr4.Pae);
            Allow(Feature.Pge, Cr4.Pge);
            Allow(Feature.Umip, Cr4.Umip);
            Allow(Feature.FsGsBase, Cr4.FsGsBase);
            Allow(Feature.Pcid, Cr4.Pcide);
            Allow(Feature.Xsave, Cr4.OsXsave);
            Allow(Feature.Smep, Cr4.Smep);
            Allow(Feature.Smap, Cr4.Smap);
            Allow(Feature.Pku, Cr4.Pke);
            return bits;

            void Allow(Feature feature, ulong bit)
            {
                if (Has(feature))
                    bits |= bit;
            }
        }
    }

    /// <summary>EFER bits that can be set, LMA among them.</summary>
    public ulong EferBits => Efer.Lma | (Has(Feature.Syscall) ? Efer.Sce : 0) | (Has(Feature.Lm) ? Efer.Lme : 0) | (Has(Feature.Nx) ? Efer.Nxe : 0);
}
