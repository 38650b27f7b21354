using Spectre.Console;
using Trapline.Host;
using Trapline.Images;

namespace Trapline.Cli.Reports;

/// <summary>Shows the one fetch of the default guest, and of images: bars on a terminal, plain lines elsewhere, nothing when all is cached.</summary>
internal static class FetchReporter
{
    public static async Task<GuestImages> GetAsync(GuestImageStore store, CancellationToken cancellation)
    {
        return store.TryRead() ?? await ShowAsync(progress => store.GetAsync(progress, cancellation)).ConfigureAwait(false);
    }

    /// <summary>Shows what something fetches.</summary>
    public static async Task<T> ShowAsync<T>(Func<IProgress<FetchProgress>, Task<T>> fetch)
    {
        if (!HostTerminal.IsTerminal(2))
            return await fetch(new PlainLines()).ConfigureAwait(false);
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
        T? fetched = default;
        await console.Progress().AutoClear(true).HideCompleted(false)
            .Columns(new SpinnerColumn(), new TaskDescriptionColumn(), new ProgressBarColumn(), new DownloadedColumn(), new ElapsedTimeColumn())
            .StartAsync(async context => fetched = await fetch(new Bars(context)).ConfigureAwait(false)).ConfigureAwait(false);
        return fetched!;
    }

    private sealed class PlainLines : IProgress<FetchProgress>
    {
        private string _last = "";

        public void Report(FetchProgress value)
        {
            if (value.Activity == _last)
                return;
            _last = value.Activity;
            Console.Error.WriteLine("trapline: " + value.Activity);
        }
    }

    private sealed class Bars(ProgressContext context) : IProgress<FetchProgress>
    {
        private string _activity = "";
        private ProgressTask? _task;

        public void Report(FetchProgress value)
        {
            if (value.Activity != _activity)
            {
                _task?.StopTask();
                _activity = value.Activity;
                _task = context.AddTask(Markup.Escape(value.Activity), maxValue: Math.Max(1, value.Total));
                _task.IsIndeterminate = value.Total < 0;
            }
            if (value.Done >= 0)
                _task!.Value = value.Done;
        }
    }
}
