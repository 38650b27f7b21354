using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Trapline.Cpu.Tests.Float;

/// <summary>One instruction to run, on the host or in software; laid out as host_float.c reads it.</summary>
[StructLayout(LayoutKind.Sequential, Size = 64)]
public struct FloatRequest
{
    public uint Op;
    public uint Control;
    public ulong ALow, AHigh;
    public ulong BLow, BHigh;
    public ulong CLow, CHigh;
}

/// <summary>What the instruction left behind.</summary>
[StructLayout(LayoutKind.Sequential, Size = 64)]
public struct FloatAnswer
{
    public ulong ResultLow, ResultHigh;
    public ulong SecondLow, SecondHigh;
    public ulong MemoryLow, MemoryHigh;
    public uint Status;
    public uint Faulted;
    public uint Flags;
    public uint Tag;
}

/// <summary>The oracle: a small C program, compiled on first use, that runs the instructions on the host's CPU.</summary>
public static class HostFloat
{
    private static readonly Lazy<string?> Program = new(Compile);

    /// <summary>Why the host cannot be asked; null when it can.</summary>
    public static string? Unavailable
    {
        get
        {
            if (RuntimeInformation.ProcessArchitecture != Architecture.X64 || !OperatingSystem.IsLinux())
                return "the oracle is the host CPU: needs Linux on x86-64";
            if (!System.Runtime.Intrinsics.X86.Fma.IsSupported)
                return "the oracle is the host CPU, and it has no FMA";
            return Program.Value == null ? "needs gcc to compile the oracle" : null;
        }
    }

    public static FloatAnswer[] Run(FloatRequest[] requests)
    {
        var start = new ProcessStartInfo(Program.Value!) { RedirectStandardInput = true, RedirectStandardOutput = true };
        using Process process = Process.Start(start)!;
        Task writer = Task.Run(() =>
        {
            using Stream stdin = process.StandardInput.BaseStream;
            stdin.Write(MemoryMarshal.AsBytes(requests.AsSpan()));
        });
        var answers = new FloatAnswer[requests.Length];
        process.StandardOutput.BaseStream.ReadExactly(MemoryMarshal.AsBytes(answers.AsSpan()));
        writer.Wait();
        process.WaitForExit();
        return answers;
    }

    private static string? Compile()
    {
        string folder = Path.Combine(Path.GetTempPath(), $"trapline-float-{Environment.ProcessId}");
        Directory.CreateDirectory(folder);
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(folder, true);
        string source = Path.Combine(folder, "host_float.c");
        string program = Path.Combine(folder, "host_float");
        using (Stream from = typeof(HostFloat).Assembly.GetManifestResourceStream("host_float.c")!)
        using (Stream to = File.Create(source))
            from.CopyTo(to);
        try
        {
            using Process gcc = Process.Start(new ProcessStartInfo("gcc", ["-O1", "-mno-red-zone", "-o", program, source])
            {
                RedirectStandardError = true,
            })!;
            string errors = gcc.StandardError.ReadToEnd();
            gcc.WaitForExit();
            return gcc.ExitCode == 0 ? program : throw new InvalidOperationException(errors);
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return null;
        }
    }
}

/// <summary>A fact that compares with the host CPU; skipped, with the reason, where that cannot be done.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class HostFactAttribute : FactAttribute
{
    public HostFactAttribute() => Skip = HostFloat.Unavailable!;
}

/// <summary>As <see cref="HostFactAttribute"/>, for theories.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class HostTheoryAttribute : TheoryAttribute
{
    public HostTheoryAttribute() => Skip = HostFloat.Unavailable!;
}
