using System.CommandLine;
using Trapline.Cli.Options;
using Trapline.Core;
using Trapline.Machine;

namespace Trapline.Cli;

/// <summary>`trapline disasm`: guest code beside its translation.</summary>
internal static class DisassembleCommand
{
    private const string DefaultAddress = "0x400000";

    public static Command Build(TextWriter output)
    {
        Option<string> hex = new("--hex") { Description = "The code in hexadecimal, spaces as you like", HelpName = "BYTES" };
        Option<string> file = new("--file") { Description = "The code: a file of raw bytes", HelpName = "FILE" };
        Option<string> address = new("--address") { Description = $"Where the guest has it [default: {DefaultAddress}]", HelpName = "ADDRESS" };
        Option<bool> supervisor = new("--supervisor") { Description = "As the guest's kernel, not as a program" };
        Option<bool> safe = new("--safe") { Description = "Without hoisted checks, as for frames that straddle two pages" };
        Option<bool> code32 = new("--code32") { Description = "32-bit code with flat segments, not 64-bit code" };
        Option<string> cpu = new("--cpu") { Description = "CPU model, as for trapline run [default: max]", HelpName = "MODEL[,+F,-F]" };
        cpu.CompletionSources.Add([.. X86.CpuModel.Names]);
        Command command = new("disasm", "Show guest code beside what the translator makes of it; nothing is run: trapline disasm --hex '48 8b 07 c3'");
        foreach (Option option in (Option[])[hex, file, address, supervisor, safe, code32, cpu])
            command.Add(option);
        command.SetAction(result => output.Write(Show(
            Code(result.GetValue(hex), result.GetValue(file)),
            Hexadecimal.ParseAddress("--address", result.GetValue(address) ?? DefaultAddress),
            result.GetValue(supervisor),
            result.GetValue(safe),
            result.GetValue(code32),
            result.GetValue(cpu) is { } model ? CpuArgument.Parse("--cpu", model) : new CpuSpecification())));
        return command;
    }

    private static byte[] Code(string? hex, string? file) => (hex, file) switch
    {
        ({ } text, null) => Hexadecimal.ParseBytes("--hex", text),
        (null, { } path) => InputFile.Read("--file", path, "code", 4096).Content.ToArray(),
        (null, null) => throw new BadInputException("there is no code: give --hex BYTES or --file FILE, such as trapline disasm --hex '48 8b 07 c3'"),
        _ => throw new BadInputException("--hex and --file do not go together: give one"),
    };

    private static string Show(byte[] code, ulong address, bool supervisor, bool safe, bool code32, CpuSpecification cpu)
    {
        try
        {
            return CodePreview.Show(code, address, supervisor, safe, code32, cpu);
        }
        catch (BadInputException e)
        {
            throw OptionNames.Named(e);
        }
    }
}
