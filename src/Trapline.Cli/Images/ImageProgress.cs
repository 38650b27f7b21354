using Spectre.Console;
using Trapline.Host;

namespace Trapline.Cli.Images;

/// <summary>A bar on a terminal while something goes through a whole disk; nothing elsewhere.</summary>
internal static class ImageProgress
{
    public static void Run(string activity, long length, Action<IProgress<long>?> work)
    {
        if (!HostTerminal.IsTerminal(2))
        {
            work(null);
            return;
        }
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
        console.Progress().AutoClear(true).Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new RemainingTimeColumn())
            .Start(context => work(new Bar(context.AddTask(Markup.Escape(activity), maxValue: Math.Max(1, length)))));
    }

    private sealed class Bar(ProgressTask task) : IProgress<long>
    {
        public void Report(long value) => task.Value = value;
    }
}
