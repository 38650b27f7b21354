using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Parsing;
using System.Reflection;
using Trapline.Cli.Images;
using Trapline.Cli.Machines;
using Trapline.Cli.Options;
using Trapline.Core;

namespace Trapline.Cli;

/// <summary>The commands, and the one way in which bad input is answered: a line on stderr and exit status 2.</summary>
internal static class CommandLine
{
    private const string RunExamples = """
        Examples:
          trapline run                              a shell in the default guest; Ctrl-A x quits
          trapline run -- uname -a                  one command; its output, its exit status
          tar c . | trapline run -- tar t           standard input goes through
          trapline run --kernel bzImage --initrd initrd.gz --append 'console=ttyS0' --memory 1G
          trapline run --name box --idle &          a guest for commands that come later: trapline exec box -- uname -a
          trapline run --kernel test.flat --debug-exit --device testdev --serial stdio


        """;

    public static string Version { get; } =
        typeof(CommandLine).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion.Split('+')[0];

    public static int Run(string[] arguments) => Run(arguments, Console.Out, Console.Error, settings => new RunSession(settings).Run());

    /// <param name="arguments">The program's arguments.</param>
    /// <param name="output">For answers.</param>
    /// <param name="errors">For complaints.</param>
    /// <param name="start">Does what `trapline run` was asked.</param>
    internal static int Run(string[] arguments, TextWriter output, TextWriter errors, Func<RunSettings, int> start)
    {
        // What follows "--" belongs to the guest: no parser of ours looks at it.
        int end = arguments is ["run" or "restore" or "exec", ..] ? Array.IndexOf(arguments, "--") : -1;
        string[] own = end >= 0 ? arguments[..end] : arguments;
        IReadOnlyList<ReadOnlyMemory<byte>>? command = end >= 0 ? RawArguments.Of(arguments[(end + 1)..]) : null;
        try
        {
            ParseResult result = Build(command, output, errors, start).Parse(own, new ParserConfiguration { ResponseFileTokenReplacer = null });
            if (result.Errors.Count > 0)
                throw new BadInputException(Explain(result));
            return result.Invoke(new InvocationConfiguration { Output = output, Error = errors, EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null });
        }
        catch (BadInputException e)
        {
            errors.WriteLine("trapline: " + e.Message.ReplaceLineEndings(" "));
            return ExitCodes.BadInput;
        }
        catch (Exception e)
        {
            // The last stop: whatever it was, the terminal is the user's again by now.
            errors.WriteLine($"trapline: internal error, please report it: {e.GetType().Name}: {e.Message.ReplaceLineEndings(" ")}");
            if (Environment.GetEnvironmentVariable("TRAPLINE_DEBUG") == "1")
                errors.WriteLine(e);
            else
                errors.WriteLine("trapline: TRAPLINE_DEBUG=1 shows where");
            return ExitCodes.Failed;
        }
    }

    private static RootCommand Build(IReadOnlyList<ReadOnlyMemory<byte>>? command, TextWriter output, TextWriter errors, Func<RunSettings, int> start)
    {
        RunOptions options = new();
        Command run = new("run", "Boot a guest: alone, a shell in a Debian guest; with -- COMMAND [ARGUMENTS], one command in it; with --kernel, what you like");
        options.AddTo(run);
        run.SetAction(result => start(options.Read(result, command)));

        RootCommand root = new("Trapline runs virtual machines on a CPU written in C#, or on KVM where that is fast: no root, no native library") { HelpName = "trapline" };
        root.Add(run);
        root.Add(RestoreCommand.Build(command, start));
        Command exec = ExecCommand.Build(command, errors);
        root.Add(ListCommand.Build(output, errors));
        root.Add(exec);
        root.Add(StatsCommand.Build(output, errors));
        foreach (Command pressed in SwitchCommands.Build(output, errors))
            root.Add(pressed);
        root.Add(StateCommands.BuildEngine(output, errors));
        root.Add(StateCommands.BuildSave(output, errors));
        root.Add(StateCommands.BuildBalloon(output, errors));
        Command fork = ForkCommand.Build(output, errors);
        root.Add(fork);
        root.Add(StopCommand.Build(output, errors));
        Command image = ImageCommand.Build(output, errors);
        root.Add(image);
        root.Add(CpuCommand.Build(output));
        root.Add(DisassembleCommand.Build(output));
        root.Add(DoctorCommand.Build(output));
        root.Add(CompletionCommand.Build(output));
        HelpOption help = root.Options.OfType<HelpOption>().Single();
        ExtendedHelp extended = new((HelpAction)help.Action!, new() { [run] = RunExamples + ExitCodes.Help, [exec] = ExecCommand.Examples, [fork] = ForkCommand.Examples, [image] = ImageCommand.Examples });
        help.Action = extended;
        root.SetAction(extended.Invoke);
        root.Options.OfType<VersionOption>().Single().Action = new PrintVersion(output);
        return root;
    }

    /// <summary>Such as "trapline image create".</summary>
    private static string PathTo(CommandResult command) =>
        command.Parent is CommandResult parent ? $"{PathTo(parent)} {command.Command.Name}" : "trapline";

    /// <summary>The first error in our own words.</summary>
    private static string Explain(ParseResult result)
    {
        string help = $"see {PathTo(result.CommandResult)} --help";
        if (result.UnmatchedTokens is [string unknown, ..])
        {
            string hint = result.CommandResult.Command.Name is "run" or "restore" or "exec" && !unknown.StartsWith('-') ? "put a command for the guest after '--', or " : "";
            string kind = unknown.StartsWith('-') ? "option" : result.CommandResult.Command is RootCommand ? "command" : "argument";
            return $"unknown {kind} '{unknown}': {hint}{help}";
        }
        ParseError error = result.Errors[0];
        return error.SymbolResult switch
        {
            OptionResult { Tokens.Count: 0 } option => $"{option.Option.Name} has no value: {help}",
            OptionResult { Tokens.Count: > 1 } option =>
                $"{option.Option.Name} '{option.Tokens[1].Value}' is given a second time: give it once; {help}",
            _ when result.CommandResult.Command.Subcommands.Count > 0 => $"'{result.CommandResult.Command.Name}' needs a command behind it: {help}",
            _ => $"{error.Message.TrimEnd('.')}: {help}",
        };
    }
}
