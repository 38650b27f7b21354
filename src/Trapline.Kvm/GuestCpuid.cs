using System.Runtime.InteropServices;
using Trapline.Kvm.Abi;
using Trapline.X86;

namespace Trapline.Kvm;

/// <summary>What CPUID answers under KVM: what the model has and the host's KVM can give.</summary>
internal static unsafe class GuestCpuid
{
    /// <summary>What the machine provides, whatever the host has.</summary>
    private static readonly Feature[] TheMachines =
        [Feature.Apic, Feature.X2Apic, Feature.Mtrr, Feature.Mce, Feature.Mca, Feature.Hypervisor, Feature.Arat, Feature.Ht];

    /// <summary>The model as it can be on this host.</summary>
    /// <param name="tscAtModelsRate">The host's counter can be scaled to the model's frequency, which the machine's deadline timer counts by.</param>
    public static CpuModel Restrict(CpuModel model, KvmDevice device, bool tscAtModelsRate)
    {
        List<Feature> regardless = [.. TheMachines];
        if (tscAtModelsRate)
            regardless.Add(Feature.TscDeadline);
        KvmCpuidEntry[] supported = device.SupportedCpuid;
        bool pkruFits = Find(supported, 0xD, 9).Ebx == XsaveLayout.PkruOffset;
        return model.RestrictedTo(Host, regardless);

        CpuidResult Host(uint leaf, uint subleaf)
        {
            CpuidResult answer = Find(supported, leaf, subleaf);
            if (leaf == 1 && !tscAtModelsRate)
                answer = answer with { Ecx = answer.Ecx & ~(1u << 24) };
            // Where the host's XSAVE area has PKRU somewhere else, the state would not fit the other engines.
            if (leaf == 7 && subleaf == 0 && !pkruFits)
                answer = answer with { Ecx = answer.Ecx & ~(1u << 3) };
            // KVM's interface would be the kernel's, which knows neither the machine's clock nor its local APICs. No I/O delays need neither.
            if (leaf == 0x4000_0001)
                answer = answer with { Eax = answer.Eax & 1 << 1 };
            return answer;
        }
    }

    /// <summary>Every answer of one vCPU. CR4, XCR0 and the APIC's enable bit are the kernel's to fill in.</summary>
    /// <param name="model">Made by <see cref="Restrict"/>.</param>
    /// <param name="tscKilohertz">The guest's time-stamp frequency.</param>
    public static KvmCpuidEntry[] Entries(CpuModel model, KvmDevice device, uint apicId, int count, uint tscKilohertz)
    {
        CpuidInputs inputs = new(apicId, count, Cr4: 0, Xcr0: XsaveLayout.X87, Xss: 0);
        List<KvmCpuidEntry> entries = [];
        uint basicLast = model.Cpuid(0, 0, inputs).Eax;
        for (uint leaf = 0; leaf <= basicLast; leaf++)
        {
            uint[] subleaves = leaf switch { 4 => [0, 1, 2, 3, 4], 7 => [0, 1, 2], 0xB => [0, 1, 2], 0xD => [0, 1, 2, 9], _ => [] };
            if (subleaves.Length == 0)
                Add(leaf, 0, 0);
            foreach (uint subleaf in subleaves)
                Add(leaf, subleaf, KvmCpuidEntry.HasSubleaf);
        }
        if (model.Has(Feature.Hypervisor))
        {
            Add(0x4000_0000, 0, 0);
            Add(0x4000_0001, 0, 0);
            Add(0x4000_0010, 0, 0);
        }
        uint extendedLast = model.Cpuid(0x8000_0000, 0, inputs).Eax;
        for (uint leaf = 0x8000_0000; leaf <= extendedLast; leaf++)
            Add(leaf, 0, 0);
        return [.. entries];

        void Add(uint leaf, uint subleaf, uint flags)
        {
            CpuidResult answer = Adjust(leaf, subleaf, model.Cpuid(leaf, subleaf, inputs));
            entries.Add(new KvmCpuidEntry
            {
                Leaf = leaf, Subleaf = subleaf, Flags = flags, Eax = answer.Eax, Ebx = answer.Ebx, Ecx = answer.Ecx, Edx = answer.Edx,
            });
        }

        CpuidResult Adjust(uint leaf, uint subleaf, CpuidResult answer)
        {
            uint apicKilohertz = (uint)(model.TscFrequency / 1000);
            CpuidResult host = Find(device.SupportedCpuid, leaf, subleaf);
            return leaf switch
            {
                // What the model says of speculation is true of software only.
                7 when subleaf == 0 => answer with { Edx = answer.Edx & host.Edx },
                7 when subleaf == 2 => answer with { Edx = answer.Edx & host.Edx },
                // The crystal stays the local APIC timer's clock; the counter is a multiple of it.
                0x15 when tscKilohertz != apicKilohertz => answer with { Eax = apicKilohertz, Ebx = tscKilohertz },
                0x16 when tscKilohertz != apicKilohertz => answer with { Eax = tscKilohertz / 1000, Ebx = tscKilohertz / 1000 },
                0x4000_0010 => answer with { Eax = tscKilohertz },
                0x8000_0008 => answer with { Eax = (answer.Eax & ~0xFFu) | Math.Min(answer.Eax & 0xFF, host.Eax & 0xFF) },
                _ => answer,
            };
        }
    }

    /// <summary>Gives a vCPU its answers; before anything that depends on them.</summary>
    /// <exception cref="KvmException">The host refused.</exception>
    public static void Install(int vcpu, KvmCpuidEntry[] entries)
    {
        byte[] buffer = new byte[KvmCpuidEntry.HeaderSize + (entries.Length * sizeof(KvmCpuidEntry))];
        MemoryMarshal.AsBytes<KvmCpuidEntry>(entries).CopyTo(buffer.AsSpan(KvmCpuidEntry.HeaderSize));
        fixed (byte* list = buffer)
        {
            *(int*)list = entries.Length;
            KvmCalls.Require(vcpu, KvmRequest.SetCpuid, list, "KVM_SET_CPUID2");
        }
    }

    private static CpuidResult Find(KvmCpuidEntry[] entries, uint leaf, uint subleaf)
    {
        foreach (KvmCpuidEntry entry in entries)
            if (entry.Leaf == leaf && ((entry.Flags & KvmCpuidEntry.HasSubleaf) == 0 || entry.Subleaf == subleaf))
                return new CpuidResult(entry.Eax, entry.Ebx, entry.Ecx, entry.Edx);
        return default;
    }
}
