using System.CommandLine;
using System.CommandLine.Invocation;

namespace Trapline.Cli;

internal sealed class PrintVersion(TextWriter output) : SynchronousCommandLineAction
{
    public override int Invoke(ParseResult parseResult)
    {
        output.WriteLine("trapline " + CommandLine.Version);
        return ExitCodes.Success;
    }
}
