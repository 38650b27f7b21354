using System.Runtime.InteropServices;
using Trapline.Kvm.Abi;
using Trapline.X86;

namespace Trapline.Kvm;

/// <summary>The MSRs of a vCPU's state, read and written at once (api.rst 4.18 and 4.19).</summary>
/// <remarks>
/// What the kernel does not take, or takes and forgets, is kept here and given back as long as the kernel's own register stays as it was.
/// Unsafe because the kernel reads and writes the native block, which lives as long as this object.
/// </remarks>
internal sealed unsafe class VcpuMsrBlock : IDisposable
{
    private readonly int _vcpu;
    private readonly uint[] _indices;
    private readonly Dictionary<uint, (ulong Wanted, ulong Kernels)> _kept = [];
    private byte* _block;

    /// <param name="indices">Those that may be in a state. EFER is not among them: it goes with the control registers.</param>
    public VcpuMsrBlock(int vcpu, IEnumerable<uint> indices)
    {
        _vcpu = vcpu;
        _indices = [.. indices];
        _block = (byte*)NativeMemory.AllocZeroed((nuint)(KvmMsrEntry.HeaderSize + (_indices.Length * sizeof(KvmMsrEntry))));
    }

    private Span<KvmMsrEntry> Entries => new(_block + KvmMsrEntry.HeaderSize, _indices.Length);

    /// <summary>The values, in the order of the indices.</summary>
    public void Read(Dictionary<uint, ulong> msrs)
    {
        ReadKernels();
        foreach (KvmMsrEntry entry in Entries)
            msrs[entry.Index] = _kept.TryGetValue(entry.Index, out var kept) && kept.Kernels == entry.Value ? kept.Wanted : entry.Value;
    }

    /// <summary>Writes every register; <paramref name="reset"/> says what those hold that the state leaves out.</summary>
    public void Write(IReadOnlyDictionary<uint, ulong> msrs, Func<uint, ulong> reset)
    {
        _kept.Clear();
        for (int i = 0; i < _indices.Length; i++)
            Entries[i] = new KvmMsrEntry { Index = _indices[i], Value = Wanted(_indices[i]) };
        // The kernel stops at the first that it does not take.
        for (int first = 0; first < _indices.Length; first++)
            first += Transfer(KvmRequest.SetMsrs, first, "KVM_SET_MSRS");
        ReadKernels();
        foreach (KvmMsrEntry entry in Entries)
            if (Wanted(entry.Index) is var wanted && wanted != entry.Value)
                _kept[entry.Index] = (wanted, entry.Value);

        ulong Wanted(uint index) => msrs.TryGetValue(index, out ulong value) ? value : reset(index);
    }

    public void Dispose()
    {
        NativeMemory.Free(_block);
        _block = null;
    }

    /// <summary>What the kernel has; zero where it has nothing.</summary>
    private void ReadKernels()
    {
        for (int i = 0; i < _indices.Length; i++)
            Entries[i] = new KvmMsrEntry { Index = _indices[i] };
        for (int first = 0; first < _indices.Length; first++)
            first += Transfer(KvmRequest.GetMsrs, first, "KVM_GET_MSRS");
    }

    /// <returns>How many of the entries from <paramref name="first"/> on were transferred.</returns>
    private int Transfer(ulong request, int first, string name)
    {
        // The header stands before the first entry of the call: over the value of the entry before it.
        byte* header = _block + (first * sizeof(KvmMsrEntry));
        ulong before = *(ulong*)header;
        *(ulong*)header = (ulong)(_indices.Length - first);
        int done = KvmCalls.Require(_vcpu, request, header, name);
        *(ulong*)header = before;
        return done;
    }
}
