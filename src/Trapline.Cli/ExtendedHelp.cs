using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace Trapline.Cli;

/// <summary>The parser's help, and for one command the examples and exit statuses behind it.</summary>
internal sealed class ExtendedHelp(HelpAction help, Command command, string text) : SynchronousCommandLineAction
{
    public override bool ClearsParseErrors => true;

    public override int Invoke(ParseResult parseResult)
    {
        int status = help.Invoke(parseResult);
        TextWriter output = parseResult.InvocationConfiguration.Output;
        if (parseResult.CommandResult.Command == command)
            output.WriteLine(text);
        else if (parseResult.CommandResult.Command is RootCommand)
            output.WriteLine("Start with:\n  trapline run               a shell in a Debian guest\n  trapline run -- uname -a   one command in it\n  trapline run --help        all options, examples, exit statuses");
        return status;
    }
}
