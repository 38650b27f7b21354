using Trapline.Cpu.Translator.Emit;
using Trapline.Host;

namespace Trapline.Cpu.Translator.CodeCache;

/// <summary>The code cache's memory: grows until full, then is emptied as a whole (a new generation).</summary>
public sealed unsafe class ExecutableCode : IDisposable
{
    /// <summary>The longest translation is far shorter than this.</summary>
    private const ulong Reserve = 64 << 10;
    private readonly CodeMapping _mapping;
    private ulong _used;
    private ulong _floor;

    public ExecutableCode(ulong size) => _mapping = CodeMapping.Create(size);

    public bool IsFull => _used + Reserve > _mapping.Length;
    public ulong Used => _used;

    private nint ToExecutable => (nint)_mapping.Executable - (nint)_mapping.Writable;

    public Assembler Begin() => new(_mapping.Writable + _used, ToExecutable);

    /// <summary>For rewriting what is already there.</summary>
    public Assembler At(nint executable) => new((byte*)(executable - ToExecutable), ToExecutable);

    public void Commit(in Assembler assembler) => _used = (_used + (ulong)assembler.Length + 15) & ~15ul;

    /// <summary>What has been emitted so far (the common stubs) stays for ever.</summary>
    public void Keep() => _floor = _used;

    public void Clear() => _used = _floor;

    public void Dispose() => _mapping.Dispose();
}
