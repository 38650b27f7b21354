using Trapline.Cpu.Translator.Emit;
using Trapline.Host;

namespace Trapline.Cpu.Translator.CodeCache;

/// <summary>The code cache's memory: grows until full, then is emptied as a whole (a new generation).</summary>
/// <remarks>
/// Code that runs lies in one half and code that seldom does, its exits, in the other: what shares a cache line or a page with running code runs too.
/// </remarks>
public sealed unsafe class ExecutableCode : IDisposable
{
    /// <summary>The longest translation is far shorter than this.</summary>
    private const ulong Reserve = 64 << 10;

    /// <summary>A vCPU that has emitted so much into one half will emit more, and is worth huge pages.</summary>
    private const ulong Much = 512 << 10;

    private readonly CodeMapping _mapping;
    private readonly ulong _half;
    private ulong _hot;
    private ulong _cold;
    private ulong _floor;

    /// <summary>How much of each half is in huge pages.</summary>
    private ulong _hugeHot, _hugeCold;

    public ExecutableCode(ulong size)
    {
        _mapping = CodeMapping.Create(size);
        _half = _mapping.Length / 2;
    }

    /// <summary>So much has been emitted that more will be.</summary>
    public bool IsLarge => _hugeHot != 0;

    public bool IsFull => Math.Max(_hot, _cold) + Reserve > _half;
    public ulong Used => _hot + _cold;

    private nint ToExecutable => (nint)_mapping.Executable - (nint)_mapping.Writable;

    public Assembler BeginHot() => new(_mapping.Writable + _hot, ToExecutable);
    public Assembler BeginCold() => new(_mapping.Writable + _half + _cold, ToExecutable);

    /// <summary>For rewriting what is already there.</summary>
    public Assembler At(nint executable) => new(Writable(executable), ToExecutable);

    public byte* Writable(nint executable) => (byte*)(executable - ToExecutable);

    public void CommitHot(in Assembler assembler)
    {
        _hot = (_hot + (ulong)assembler.Length + 15) & ~15ul;
        KeepHuge(ref _hugeHot, _hot, 0);
    }

    public void CommitCold(in Assembler assembler)
    {
        _cold += (ulong)assembler.Length;
        KeepHuge(ref _hugeCold, _cold, _half);
    }

    /// <summary>What is about to be emitted into, too, is in huge pages, once there is much.</summary>
    private void KeepHuge(ref ulong huge, ulong used, ulong start)
    {
        while (used + Reserve > Math.Max(huge, Much) && start % HostPages.HugePage == 0 && huge + HostPages.HugePage <= _half)
        {
            _mapping.MakeHuge(start + huge);
            huge += HostPages.HugePage;
        }
    }

    /// <summary>What has been emitted so far (the common stubs) stays for ever.</summary>
    public void Keep() => _floor = _hot;

    public void Clear() => (_hot, _cold) = (_floor, 0);

    public void Dispose() => _mapping.Dispose();
}
