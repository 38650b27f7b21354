using System.ComponentModel;
using Trapline.Cpu.Translator.Frontend;
using Trapline.Host;

namespace Trapline.Cpu.Interpreter;

/// <summary>Compare-and-exchange of 16 bytes, which .NET has no name for: the host's own instruction, so that siblings in translated code see it whole.</summary>
/// <remarks>
/// Unsafe because it calls code that it wrote: one function for the process, which touches the two places it is given and nothing else. Where that cannot
/// be, no vCPU runs translated code, and the lock that callers hold is enough.
/// </remarks>
internal static unsafe class WideCompareExchange
{
    private static readonly delegate* unmanaged<byte*, ulong*, ulong, ulong, int> Function = Emit();

    /// <summary>Puts two words at an aligned place of RAM if those there are as expected; else <paramref name="expected"/> becomes what is there.</summary>
    public static bool Replace(byte* place, ulong* expected, ulong low, ulong high)
    {
        if (Function != null)
            return Function(place, expected, low, high) != 0;
        ulong* words = (ulong*)place;
        bool equal = words[0] == expected[0] && words[1] == expected[1];
        if (equal)
            (words[0], words[1]) = (low, high);
        else
            (expected[0], expected[1]) = (words[0], words[1]);
        return equal;
    }

    private static delegate* unmanaged<byte*, ulong*, ulong, ulong, int> Emit()
    {
        if (!HostFeatures.Translate)
            return null;
        // By the System V calling convention: RDI, RSI, RDX, RCX.
        ReadOnlySpan<byte> code =
        [
            0x53,                         // push rbx
            0x48, 0x89, 0xD3,             // mov rbx, rdx
            0x48, 0x8B, 0x06,             // mov rax, [rsi]
            0x48, 0x8B, 0x56, 0x08,       // mov rdx, [rsi+8]
            0xF0, 0x48, 0x0F, 0xC7, 0x0F, // lock cmpxchg16b [rdi]
            0x48, 0x89, 0x06,             // mov [rsi], rax
            0x48, 0x89, 0x56, 0x08,       // mov [rsi+8], rdx
            0x0F, 0x94, 0xC0,             // sete al
            0x0F, 0xB6, 0xC0,             // movzx eax, al
            0x5B,                         // pop rbx
            0xC3,                         // ret
        ];
        try
        {
            CodeMapping mapping = CodeMapping.Create(4096);
            code.CopyTo(new Span<byte>(mapping.Writable, 4096));
            return (delegate* unmanaged<byte*, ulong*, ulong, ulong, int>)mapping.Executable;
        }
        catch (Win32Exception)
        {
            return null; // then there is no memory for translations either
        }
    }
}
