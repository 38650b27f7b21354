namespace Trapline.X86;

/// <summary>CPU features that a model has or has not, by their Linux /proc/cpuinfo names in lower case; KVM's by the names QEMU has for them.</summary>
public enum Feature
{
    Fpu, Vme, De, Pse, Tsc, Msr, Pae, Mce, Cx8, Apic, Sep, Mtrr, Pge, Mca, Cmov, Pat, Pse36, Clflush, Mmx, Fxsr, Sse, Sse2, Ht,
    Sse3, Pclmulqdq, Monitor, Ssse3, Fma, Cx16, Pcid, Sse41, Sse42, X2Apic, Movbe, Popcnt, TscDeadline, Aes, Xsave, Avx, F16c, Rdrand, Hypervisor,
    FsGsBase, TscAdjust, Bmi1, Avx2, Smep, Bmi2, Erms, Invpcid, Rdseed, Adx, Smap, ClflushOpt, Clwb, Sha, Umip, Pku, Rdpid, Fsrm, Vaes, Vpclmulqdq,
    XsaveOpt, XsaveC, Xgetbv1, XsaveS,
    Syscall, Syscall32, Nx, Pdpe1Gb, Rdtscp, Lm, LahfLm, Lzcnt, PrefetchW, Sse4a, MisalignSse, Cr8Legacy,
    InvariantTsc, Arat, ArchCapabilities, SpecCtrl, La57,
    Kvm, KvmClock, KvmNoIoDelay, KvmStealTime, KvmPvEoi, KvmPvUnhalt, KvmPvTlbFlush, KvmPvIpi, KvmPollControl, KvmPvSchedYield, KvmClockStable,
}
