using System.CommandLine;
using Trapline.Core;

namespace Trapline.Cli;

/// <summary>Prints a script that lets a shell ask the parser for completions.</summary>
internal static class CompletionCommand
{
    private const string Bash = """
        # trapline completion for bash: source <(trapline completion bash)
        _trapline() {
          local IFS=$'\n'
          COMPREPLY=($("${COMP_WORDS[0]}" "[suggest:$COMP_POINT]" "$COMP_LINE" 2>/dev/null))
          [[ ${#COMPREPLY[@]} -gt 0 ]] || COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
        }
        complete -F _trapline trapline ./trapline
        """;

    private const string Zsh = """
        # trapline completion for zsh: source <(trapline completion zsh)
        _trapline() {
          local -a found
          found=("${(@f)$("${words[1]}" "[suggest:$CURSOR]" "$BUFFER" 2>/dev/null)}")
          if [[ -n "$found[1]" ]]; then compadd -a found; else _files; fi
        }
        compdef _trapline trapline
        """;

    private const string Fish = """
        # trapline completion for fish: trapline completion fish | source
        complete -c trapline -a '(set -l line (commandline -cp); trapline "[suggest:"(string length -- $line)"]" "$line" 2>/dev/null)'
        """;

    public static Command Build(TextWriter output)
    {
        Argument<string> shell = new("shell") { Description = "bash, zsh or fish" };
        shell.CompletionSources.Add("bash", "zsh", "fish");
        Command command = new("completion", "Print a completion script: source <(trapline completion bash)");
        command.Add(shell);
        command.SetAction(result => output.WriteLine(result.GetValue(shell) switch
        {
            "bash" => Bash,
            "zsh" => Zsh,
            "fish" => Fish,
            { } other => throw new BadInputException($"shell '{other}' is not known: use bash, zsh or fish"),
            null => "",
        }));
        return command;
    }
}
