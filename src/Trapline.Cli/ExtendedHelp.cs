using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace Trapline.Cli;

/// <summary>The parser's help, and for some commands examples and exit statuses behind it.</summary>
internal sealed class ExtendedHelp(HelpAction help, Dictionary<Command, string> texts) : SynchronousCommandLineAction
{
    public override bool ClearsParseErrors => true;

    public override int Invoke(ParseResult parseResult)
    {
        int status = help.Invoke(parseResult);
        TextWriter output = parseResult.InvocationConfiguration.Output;
        if (texts.TryGetValue(parseResult.CommandResult.Command, out string? text))
            output.WriteLine(text);
        else if (parseResult.CommandResult.Command is RootCommand)
            output.WriteLine("Start with:\n  trapline run               a shell in a Debian guest\n  trapline run -- uname -a   one command in it\n  trapline run --help        all options, examples, exit statuses");
        return status;
    }
}
