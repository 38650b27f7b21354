namespace Trapline.X86;

/// <summary>CR0 bits (SDM Vol. 3, 2.5).</summary>
public static class Cr0
{
    public const ulong Pe = 1ul << 0;
    public const ulong Mp = 1ul << 1;
    public const ulong Em = 1ul << 2;
    public const ulong Ts = 1ul << 3;
    public const ulong Et = 1ul << 4;
    public const ulong Ne = 1ul << 5;
    public const ulong Wp = 1ul << 16;
    public const ulong Am = 1ul << 18;
    public const ulong Nw = 1ul << 29;
    public const ulong Cd = 1ul << 30;
    public const ulong Pg = 1ul << 31;
    public const ulong Defined = Pe | Mp | Em | Ts | Et | Ne | Wp | Am | Nw | Cd | Pg;
}

/// <summary>CR4 bits (SDM Vol. 3, 2.5).</summary>
public static class Cr4
{
    public const ulong Vme = 1ul << 0;
    public const ulong Pvi = 1ul << 1;
    public const ulong Tsd = 1ul << 2;
    public const ulong De = 1ul << 3;
    public const ulong Pse = 1ul << 4;
    public const ulong Pae = 1ul << 5;
    public const ulong Mce = 1ul << 6;
    public const ulong Pge = 1ul << 7;
    public const ulong Pce = 1ul << 8;
    public const ulong OsFxsr = 1ul << 9;
    public const ulong OsXmmExcpt = 1ul << 10;
    public const ulong Umip = 1ul << 11;
    public const ulong La57 = 1ul << 12;
    public const ulong Vmxe = 1ul << 13;
    public const ulong FsGsBase = 1ul << 16;
    public const ulong Pcide = 1ul << 17;
    public const ulong OsXsave = 1ul << 18;
    public const ulong Smep = 1ul << 20;
    public const ulong Smap = 1ul << 21;
    public const ulong Pke = 1ul << 22;
}

/// <summary>IA32_EFER bits (SDM Vol. 3, 2.2.1).</summary>
public static class Efer
{
    public const ulong Sce = 1ul << 0;
    public const ulong Lme = 1ul << 8;
    public const ulong Lma = 1ul << 10;
    public const ulong Nxe = 1ul << 11;
    public const ulong Defined = Sce | Lme | Lma | Nxe;
}

/// <summary>RFLAGS bits (SDM Vol. 1, 3.4.3).</summary>
public static class Rflags
{
    public const ulong Cf = 1ul << 0;
    public const ulong Fixed = 1ul << 1;
    public const ulong Pf = 1ul << 2;
    public const ulong Af = 1ul << 4;
    public const ulong Zf = 1ul << 6;
    public const ulong Sf = 1ul << 7;
    public const ulong Tf = 1ul << 8;
    public const ulong If = 1ul << 9;
    public const ulong Df = 1ul << 10;
    public const ulong Of = 1ul << 11;
    public const ulong Iopl = 3ul << 12;
    public const ulong Nt = 1ul << 14;
    public const ulong Rf = 1ul << 16;
    public const ulong Vm = 1ul << 17;
    public const ulong Ac = 1ul << 18;
    public const ulong Vif = 1ul << 19;
    public const ulong Vip = 1ul << 20;
    public const ulong Id = 1ul << 21;
    public const ulong Arithmetic = Cf | Pf | Af | Zf | Sf | Of;
    public const ulong Defined = Arithmetic | Fixed | Tf | If | Df | Iopl | Nt | Rf | Vm | Ac | Vif | Vip | Id;
}
