using System.CommandLine;
using Trapline.Cli.Options;
using Trapline.Core;
using Trapline.Machine;

namespace Trapline.Cli;

/// <summary>`trapline restore`: goes on with a machine that was saved to a file.</summary>
internal static class RestoreCommand
{
    /// <param name="command">What followed "--", or null.</param>
    /// <param name="start">Does what was asked.</param>
    public static Command Build(IReadOnlyList<ReadOnlyMemory<byte>>? command, Func<RunSettings, int> start)
    {
        Argument<string> file = new("FILE") { Description = "What trapline run --save wrote" };
        Option<string> serial = new("--serial") { Description = "First serial port: stdio, file:PATH, pty or none [default: stdio]", HelpName = "TARGET" };
        Option<string> engine = new("--engine") { Description = "What runs the CPU [default: what ran it before]", HelpName = "NAME" };
        Option<string[]> disks = DiskOption.Make("A disk of the saved machine, in the order it had them: FILE[,format=raw|qcow2][,ro][,cache=MODE][,discard=unmap]");
        Option<string[]> shares = ShareOption.Make("A share of the saved machine, with the folder that it leads to now");
        Option<string> vsock = new("--vsock") { Description = "Where the sockets of a saved machine that has some are reached now: as with run, whose cid stays", HelpName = "PATH" };
        Option<string[]> port = new("--port") { Description = "Where a port of the saved machine leads now: file:PATH or pty", HelpName = "NAME=TARGET", Arity = ArgumentArity.OneOrMore, AllowMultipleArgumentsPerToken = false };
        NetworkOptions network = new("What a network card of the saved machine is connected to now, in the order it had them: user, none, tap=NAME or socket=NAME [default: to what it was]", withAllow: false);
        Option<string> machine = new("--name") { Description = "Make the machine reachable by this name", HelpName = "NAME" };
        Option<bool> idle = new("--idle") { Description = "With --name: run nothing but what trapline exec asks for" };
        Option<bool> statistics = new("--stats") { Description = "At the end, print instructions, exits by reason and times to stderr" };
        engine.CompletionSources.Add([.. Engines.Names]);
        Command restore = new("restore", "Go on with a saved guest: with a shell in it, or with -- COMMAND [ARGUMENTS], one command; the file stays as it is");
        restore.Add(file);
        foreach (Option option in (Option[])[serial, engine, disks, shares, .. network.All, vsock, port, machine, idle, statistics])
            restore.Add(option);
        restore.SetAction(result =>
        {
            if (command is [])
                throw new BadInputException("there is no command after '--': name one, such as trapline restore FILE -- uname -a");
            string? name = result.GetValue(engine);
            if (name is not null && !Engines.Names.Contains(name))
                throw new BadInputException($"--engine '{name}' is not known: use {string.Join(", ", Engines.Names)}");
            RunSettings settings = new()
            {
                Name = result.GetValue(machine) is { } given ? RunOptions.CheckName(given) : null,
                Idle = result.GetValue(idle),
                Snapshot = result.GetValue(file),
                Cpu = new CpuSpecification { Engine = name ?? "" },
                Serial = result.GetValue(serial) is { } target ? SerialTarget.Parse("--serial", target) : null,
                Disks = DiskOption.Read(result, disks),
                Shares = ShareOption.Read(result, shares),
                Network = network.Read(result),
                Socket = result.GetValue(vsock) is { } socket ? VsockArgument.Parse("--vsock", socket, otherwise: 0) : null,
                Ports = [.. (result.GetValue(port) ?? []).Select(text => PortArgument.Parse("--port", text))],
                Test = new TestSpecification(),
                End = new EndSpecification { WhenHaltedForGood = true },
                Statistics = result.GetValue(statistics),
                Command = command,
            };
            RunOptions.CheckIdle(settings);
            return start(settings);
        });
        return restore;
    }
}
