using System.Runtime.InteropServices;
using Trapline.Kvm.Abi;
using Trapline.X86;

namespace Trapline.Kvm;

/// <summary>The FPU, vector registers and PKRU of a vCPU, as an XSAVE image (api.rst 4.42, 4.134).</summary>
/// <remarks>Unsafe because the kernel reads and writes the native image, which is as large as the kernel says and lives as long as this object.</remarks>
internal sealed unsafe class VcpuXsave : IDisposable
{
    /// <summary>What <see cref="VcpuState.Xsave"/> holds; the kernel's image has the same in the same places, and more behind it.</summary>
    private const int StateSize = XsaveLayout.AvxOffset + XsaveLayout.AvxSize;
    private const ulong StateComponents = XsaveLayout.X87 | XsaveLayout.Sse | XsaveLayout.Avx;
    private const ushort InitialX87Control = 0x37F;

    private readonly int _vcpu;
    private readonly int _size;
    private readonly bool _large;
    private readonly bool _hasPkru;
    private readonly ulong _components;
    private byte* _image;

    public VcpuXsave(int vcpu, KvmDevice device, CpuModel model)
    {
        _vcpu = vcpu;
        int size = device.Check(KvmCapability.Xsave2);
        _large = size > KvmXsave.Size;
        _size = Math.Max(size, KvmXsave.Size);
        _hasPkru = model.Has(Feature.Pku);
        _components = model.Xcr0Bits & StateComponents;
        _image = (byte*)NativeMemory.AllocZeroed((nuint)_size);
    }

    private Span<byte> Image => new(_image, _size);

    private ref ulong Present => ref *(ulong*)(_image + XsaveLayout.Header);

    public byte[] Read(out uint pkru)
    {
        KvmCalls.Require(_vcpu, _large ? KvmRequest.GetXsave2 : KvmRequest.GetXsave, _image, "KVM_GET_XSAVE");
        ulong present = Present;
        pkru = _hasPkru && (present & XsaveLayout.Pkru) != 0 ? *(uint*)(_image + XsaveLayout.PkruOffset) : 0;
        byte[] state = Image[..StateSize].ToArray();
        // Components in their initial configuration are spelled out, as the other engines do (SDM Vol. 1, 13.6).
        if ((present & XsaveLayout.X87) == 0)
        {
            state.AsSpan(0, 24).Clear();
            state.AsSpan(32, 128).Clear();
            BitConverter.TryWriteBytes(state, InitialX87Control);
        }
        if ((present & XsaveLayout.Sse) == 0)
            state.AsSpan(160, 256).Clear();
        if ((present & XsaveLayout.Avx) == 0)
            state.AsSpan(XsaveLayout.AvxOffset, XsaveLayout.AvxSize).Clear();
        state.AsSpan(416, XsaveLayout.LegacySize - 416).Clear();
        state.AsSpan(XsaveLayout.Header, XsaveLayout.HeaderSize).Clear();
        BitConverter.TryWriteBytes(state.AsSpan(28), 0xFFFFu); // MXCSR's mask
        BitConverter.TryWriteBytes(state.AsSpan(XsaveLayout.Header), _components);
        return state;
    }

    /// <param name="state">At least <see cref="StateSize"/> bytes.</param>
    /// <param name="pkru">Ignored if the model has no protection keys.</param>
    public void Write(ReadOnlySpan<byte> state, uint pkru)
    {
        Image.Clear();
        state[..StateSize].CopyTo(Image);
        Present &= _components;
        if (_hasPkru)
        {
            *(uint*)(_image + XsaveLayout.PkruOffset) = pkru;
            Present |= XsaveLayout.Pkru;
        }
        KvmCalls.Require(_vcpu, KvmRequest.SetXsave, _image, "KVM_SET_XSAVE");
    }

    public void Dispose()
    {
        NativeMemory.Free(_image);
        _image = null;
    }
}
