using System.Buffers.Binary;
using System.Diagnostics;
using System.Text;
using Trapline.Machine.Acpi;

namespace Trapline.Machine.Tests;

public class AcpiTests
{
    private static readonly FirmwareFacts Facts = new(3, MemoryLayout.For(6ul << 30), [true, false, true, true], true, 0);

    [Fact]
    public void EveryTableIsReachableAndSumsToZero()
    {
        Dictionary<ulong, byte[]> tables = AcpiTables.Build(Facts).ToDictionary(t => t.Address, t => t.Table);
        byte[] root = tables[AcpiTables.RootPointer];
        Assert.Equal(0ul, AcpiTables.RootPointer % 16);
        Assert.Equal(0, AcpiTable.Checksum(root.AsSpan(0, 20)));
        Assert.Equal(0, AcpiTable.Checksum(root));
        byte[] xsdt = tables[BinaryPrimitives.ReadUInt64LittleEndian(root.AsSpan(24))];
        List<string> seen = [];
        for (int i = 36; i < xsdt.Length; i += 8)
        {
            byte[] table = tables[BinaryPrimitives.ReadUInt64LittleEndian(xsdt.AsSpan(i))];
            Assert.Equal(0, AcpiTable.Checksum(table));
            seen.Add(Encoding.ASCII.GetString(table, 0, 4));
            if (seen[^1] == "FACP")
            {
                Assert.Equal(276, table.Length);
                Assert.Equal(0, AcpiTable.Checksum(tables[BinaryPrimitives.ReadUInt64LittleEndian(table.AsSpan(140))]));
            }
        }
        Assert.Equal(["FACP", "APIC", "MCFG", "HPET"], seen);
    }

    [Fact]
    public void TheLargestMachineFits() =>
        Assert.NotEmpty(AcpiTables.Build(Facts with { Vcpus = MachineConstants.MaximumVcpus }));

    [IaslFact]
    public void IntelsCompilerFindsNoError()
    {
        string folder = Directory.CreateTempSubdirectory("trapline-acpi").FullName;
        try
        {
            foreach ((_, byte[] table) in AcpiTables.Build(Facts))
            {
                string signature = Encoding.ASCII.GetString(table, 0, 4);
                if (signature is "RSD " or "FACS")
                    continue;
                string file = Path.Combine(folder, signature.ToLowerInvariant());
                File.WriteAllBytes(file + ".dat", table);
                string listing = IaslFactAttribute.Run("-d " + file + ".dat", folder);
                Assert.DoesNotContain("Error", listing, StringComparison.Ordinal);
                Assert.DoesNotContain("Warning", listing, StringComparison.Ordinal);
                listing = IaslFactAttribute.Run(file + ".dsl", folder);
                Assert.Contains("0 Errors", listing, StringComparison.Ordinal);
                Assert.True(signature != "DSDT" || listing.Contains(" 0 Warnings", StringComparison.Ordinal), listing);
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}

/// <summary>Runs only where Intel's ACPI compiler is (Debian: acpica-tools); otherwise the test is skipped and says so.</summary>
public sealed class IaslFactAttribute : FactAttribute
{
    public IaslFactAttribute()
    {
        if (!File.Exists("/usr/bin/iasl"))
            Skip = "iasl is not installed (apt install acpica-tools)";
    }

    public static string Run(string arguments, string folder)
    {
        using Process process = Process.Start(new ProcessStartInfo("/usr/bin/iasl", arguments)
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return output + errors.Result;
    }
}
