using System.CommandLine;
using Trapline.X86;

namespace Trapline.Cli;

/// <summary>Lists what --cpu takes.</summary>
internal static class CpuCommand
{
    private const int Width = 100;

    public static Command Build(TextWriter output)
    {
        Command list = new("list", "List the CPU models and their features");
        list.SetAction(_ => List(output));
        return new Command("cpu", "CPU models: trapline cpu list") { list };
    }

    private static void List(TextWriter output)
    {
        foreach (string name in CpuModel.Names)
        {
            output.WriteLine(name);
            string line = " ";
            foreach (string feature in CpuModel.Create(name, [], out _)!.Features.Select(CpuFeatures.NameOf).Order(StringComparer.Ordinal))
            {
                if (line.Length + feature.Length >= Width)
                {
                    output.WriteLine(line);
                    line = " ";
                }
                line += " " + feature;
            }
            output.WriteLine(line);
        }
    }
}
