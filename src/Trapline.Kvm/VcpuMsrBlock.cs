using System.Runtime.InteropServices;
using Trapline.Kvm.Abi;
using Trapline.X86;

namespace Trapline.Kvm;

/// <summary>The MSRs of a vCPU's state, read and written at once (api.rst 4.18 and 4.19). What the kernel does not keep is kept here.</summary>
/// <remarks>Unsafe because the kernel reads and writes the native block, which lives as long as this object.</remarks>
internal sealed unsafe class VcpuMsrBlock : IDisposable
{
    private readonly int _vcpu;
    private readonly uint[] _indices;
    private readonly Dictionary<uint, ulong> _kept = [];
    private byte* _block;

    /// <param name="indices">Those that may be in a state. EFER is not among them: it goes with the control registers.</param>
    public VcpuMsrBlock(int vcpu, IEnumerable<uint> indices)
    {
        _vcpu = vcpu;
        _indices = [.. indices];
        _block = (byte*)NativeMemory.AllocZeroed((nuint)(KvmMsrEntry.HeaderSize + (_indices.Length * sizeof(KvmMsrEntry))));
    }

    private Span<KvmMsrEntry> Entries => new(_block + KvmMsrEntry.HeaderSize, _indices.Length);

    /// <summary>Adds the values to <paramref name="msrs"/>.</summary>
    public void Read(Dictionary<uint, ulong> msrs)
    {
        int count = 0;
        foreach (uint index in _indices)
            if (!_kept.ContainsKey(index))
                Entries[count++] = new KvmMsrEntry { Index = index };
        for (int first = 0; first < count;)
        {
            // The kernel stops at the first that it does not know.
            int done = Transfer(KvmRequest.GetMsrs, first, count, "KVM_GET_MSRS");
            foreach (KvmMsrEntry entry in Entries.Slice(first, done))
                msrs[entry.Index] = entry.Value;
            first += done + 1;
        }
        foreach ((uint index, ulong value) in _kept)
            msrs[index] = value;
    }

    /// <summary>Writes every register; <paramref name="reset"/> says what those hold that the state leaves out.</summary>
    public void Write(IReadOnlyDictionary<uint, ulong> msrs, Func<uint, ulong> reset)
    {
        _kept.Clear();
        for (int i = 0; i < _indices.Length; i++)
        {
            uint index = _indices[i];
            Entries[i] = new KvmMsrEntry { Index = index, Value = msrs.TryGetValue(index, out ulong value) ? value : reset(index) };
        }
        for (int first = 0; first < _indices.Length;)
        {
            int done = Transfer(KvmRequest.SetMsrs, first, _indices.Length, "KVM_SET_MSRS");
            first += done;
            if (first == _indices.Length)
                break;
            if (msrs.TryGetValue(Entries[first].Index, out ulong value))
                _kept[Entries[first].Index] = value;
            first++;
        }
    }

    public void Dispose()
    {
        NativeMemory.Free(_block);
        _block = null;
    }

    /// <returns>How many of the entries from <paramref name="first"/> on were transferred.</returns>
    private int Transfer(ulong request, int first, int end, string name)
    {
        // The header stands before the first entry of the call: over the value of the entry before it.
        byte* header = _block + (first * sizeof(KvmMsrEntry));
        ulong before = *(ulong*)header;
        *(ulong*)header = (ulong)(end - first);
        int done = KvmCalls.Require(_vcpu, request, header, name);
        *(ulong*)header = before;
        return done;
    }
}
