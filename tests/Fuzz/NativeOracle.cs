using System.ComponentModel;
using System.Diagnostics;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;

namespace Trapline.Fuzz;

/// <summary>User-visible registers and the data window, laid out as the oracle's <c>struct state</c>.</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct NativeState
{
    public const int XsaveSize = 832;
    public const int DataSize = 0x2000;

    public fixed ulong Gpr[16];
    public ulong Rip;
    public ulong Rflags;
    public fixed byte Xsave[XsaveSize];
    public fixed byte Data[DataSize];
}

/// <summary>One case, laid out as the oracle's <c>struct test</c>.</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct NativeTest
{
    public NativeState In;
    public NativeState Out;
    public fixed byte Code[16];
    public uint Length;
    public uint Bits;
    /// <summary>1: the instruction completed; else the exception it raised.</summary>
    public uint Vector;
    public uint ErrorCode;
    public ulong Address;
    public uint Repeats;
    private readonly uint _pad;
}

/// <summary>The host CPU in a child process that may crash: runs batches of one-instruction cases natively.</summary>
public sealed unsafe class NativeOracle : IDisposable
{
    public const ulong CodeBase = 0x2000_0000;
    public const ulong DataBase = 0x1000_0000;
    public const int MaxCases = 256;

    private readonly string _folder;
    private readonly Process _child;
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private readonly byte* _base;

    /// <summary>Why this host cannot run the oracle, or null.</summary>
    public static string? Unavailable =>
        !OperatingSystem.IsLinux() || RuntimeInformation.ProcessArchitecture != Architecture.X64 ? "the oracle needs a Linux x86-64 host"
        : !FindOnPath("gcc") ? "the oracle is compiled with gcc, which is not installed"
        : null;

    private static readonly Lazy<string?> Narrow = new(() =>
    {
        using NativeOracle oracle = new();
        oracle.Tests->In.Rip = CodeBase;
        oracle.Tests->In.Gpr[4] = DataBase;
        oracle.Tests->Code[0] = 0x90; // NOP
        (oracle.Tests->Length, oracle.Tests->Bits) = (1, 32);
        oracle.Run(1);
        return oracle.Tests->Vector == 1 ? null : "the host's kernel runs no 32-bit code (it was built or started without IA-32 emulation)";
    });

    /// <summary>Why this host cannot run the oracle's 32-bit cases, or null.</summary>
    public static string? Unavailable32 => Unavailable ?? Narrow.Value;

    /// <exception cref="InvalidOperationException">gcc refused the oracle's source.</exception>
    public NativeOracle()
    {
        _folder = Directory.CreateTempSubdirectory("trapline-oracle-").FullName;
        string source = Path.Combine(_folder, "oracle.c"), program = Path.Combine(_folder, "oracle"), shared = Path.Combine(_folder, "batch");
        using (Stream resource = typeof(NativeOracle).Assembly.GetManifestResourceStream("oracle.c")!)
        using (FileStream file = File.Create(source))
            resource.CopyTo(file);
        using (Process gcc = Process.Start("gcc", ["-O1", "-o", program, source]))
        {
            gcc.WaitForExit();
            if (gcc.ExitCode != 0)
                throw new InvalidOperationException("gcc could not compile the oracle");
        }
        long size = 8 + (long)MaxCases * sizeof(NativeTest);
        _file = MemoryMappedFile.CreateFromFile(shared, FileMode.Create, null, (size + 4095) & ~4095L);
        _view = _file.CreateViewAccessor();
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref _base);
        _child = Process.Start(new ProcessStartInfo(program, [shared]) { RedirectStandardInput = true, RedirectStandardOutput = true })
            ?? throw new Win32Exception("cannot start the oracle");
    }

    public NativeTest* Tests => (NativeTest*)(_base + 8);

    /// <summary>Runs the first <paramref name="count"/> cases.</summary>
    /// <exception cref="InvalidOperationException">The child died.</exception>
    public void Run(int count)
    {
        *(ulong*)_base = (ulong)count;
        _child.StandardInput.BaseStream.WriteByte(1);
        _child.StandardInput.BaseStream.Flush();
        if (_child.StandardOutput.BaseStream.ReadByte() != 1)
        {
            _child.WaitForExit();
            throw new InvalidOperationException($"the oracle died (exit code {_child.ExitCode})");
        }
    }

    public void Dispose()
    {
        _child.Kill();
        _child.Dispose();
        _view.SafeMemoryMappedViewHandle.ReleasePointer();
        _view.Dispose();
        _file.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private static bool FindOnPath(string program) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(folder => File.Exists(Path.Combine(folder, program)));
}
