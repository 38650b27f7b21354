using System.Globalization;
using System.Text;
using Trapline.X86;

namespace Trapline.Machine;

/// <summary>What an engine's observer is told, in words.</summary>
internal static class EngineEvents
{
    // SDM Vol. 3, table 6-1.
    private static readonly string[] Mnemonics =
    [
        "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "", "#TS", "#NP", "#SS", "#GP", "#PF", "", "#MF", "#AC", "#MC", "#XM", "#VE", "#CP",
    ];

    // SDM Vol. 3, 4.1 and 4.2: the structures by level.
    private static readonly string[] Tables = ["", "PT", "PD", "PDPT", "PML4", "PML5"];

    // SDM Vol. 3, tables 4-15 to 4-20: the bits of an entry that decide about an access.
    private static readonly (int Bit, string Name)[] Bits =
        [(0, "P"), (1, "W"), (2, "U"), (5, "A"), (6, "D"), (7, "PS"), (8, "G"), (63, "NX")];

    public static string Exception(int vcpu, byte vector, uint errorCode, ulong rip, ulong address)
    {
        string name = vector < Mnemonics.Length && Mnemonics[vector].Length != 0 ? Mnemonics[vector] : "exception";
        string where = vector == Vector.PageFault ? string.Create(CultureInfo.InvariantCulture, $" address 0x{address:x}") : "";
        return string.Create(CultureInfo.InvariantCulture, $"cpu{vcpu} {name} (vector {vector}) error 0x{errorCode:x} at 0x{rip:x}{where}");
    }

    public static string Translated(int vcpu, TranslationReport t) => string.Create(CultureInfo.InvariantCulture,
        $"cpu{vcpu} translated 0x{t.Rip:x} {t.Mode} {t.Flavour}: {t.Instructions} instructions, {t.GuestBytes} bytes to {t.HostBytes} at 0x{t.HostAddress:x}");

    /// <summary>START SIZE symbol, numbers in hexadecimal (perf's jit-interface.txt).</summary>
    public static string PerfSymbol(nint hostAddress, int hostBytes, ulong rip, string mode, string flavour) => string.Create(CultureInfo.InvariantCulture,
        $"{hostAddress:x} {hostBytes:x} guest:{mode}:0x{rip:x}{(flavour == "safe" ? ":safe" : "")}");

    public static string PageWalk(int vcpu, ulong gva, ReadOnlySpan<WalkStep> steps, ulong? gpa, nint? hva)
    {
        StringBuilder line = new(256);
        line.Append(CultureInfo.InvariantCulture, $"cpu{vcpu} walk GVA 0x{gva:x}");
        foreach (WalkStep step in steps)
        {
            // A page table's bit 7 is PAT, not a size.
            line.Append(CultureInfo.InvariantCulture, $" | {Tables[step.Level]} at 0x{step.EntryAddress:x} = 0x{step.Entry:x} [");
            string separator = "";
            foreach ((int bit, string name) in Bits)
            {
                if ((step.Entry >> bit & 1) == 0 || (bit == 7 && step.Level == 1))
                    continue;
                line.Append(separator).Append(name);
                separator = " ";
            }
            line.Append(']');
        }
        line.Append(gpa is { } address ? string.Create(CultureInfo.InvariantCulture, $" -> GPA 0x{address:x}") : " -> page fault");
        if (gpa is not null)
            line.Append(hva is { } host ? string.Create(CultureInfo.InvariantCulture, $" -> HVA 0x{host:x}") : " -> no RAM");
        return line.ToString();
    }
}
