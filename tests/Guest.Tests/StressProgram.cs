using System.IO.Pipes;
using System.Text;
using Trapline;
using Trapline.Agent;

namespace Guest.Tests;

/// <summary>Our program that keeps a guest busy and checks itself (guests/stress).</summary>
internal static class StressProgram
{
    public const string Parallel = "parallel";

    private const string Alone = "stress", Path = "/tmp/" + Alone;

    /// <param name="name">Which one: it is /tmp/NAME there.</param>
    public static async Task SendAsync(VirtualMachine machine, string name = Alone)
    {
        using Stream program = typeof(StressProgram).Assembly.GetManifestResourceStream("guest-" + name)!;
        ProgramResult sent = await machine.ExecuteAsync(VirtualMachine.Program("sh", "-c", $"cat > /tmp/{name} && chmod +x /tmp/{name}") with { Stdin = program });
        Assert.Equal(new ProgramResult(ProgramEnd.Exited, 0), sent);
    }

    /// <summary>Runs it while something is done to the machine, and returns what it says of itself.</summary>
    public static async Task<string> RunDuringAsync(VirtualMachine machine, Func<Task> work)
    {
        using MemoryStream output = new(), errors = new();
        using AnonymousPipeServerStream end = new(PipeDirection.Out);
        using AnonymousPipeClientStream input = new(PipeDirection.In, end.ClientSafePipeHandle);
        Task<ProgramResult> running = machine.ExecuteAsync(VirtualMachine.Program(Path) with { Stdin = input, Stdout = output, Stderr = errors });
        await work();
        end.Dispose();
        ProgramResult result = await running.WaitAsync(TimeSpan.FromMinutes(2));
        string said = Encoding.UTF8.GetString(output.ToArray()) + Encoding.UTF8.GetString(errors.ToArray());
        Assert.True(result == new ProgramResult(ProgramEnd.Exited, 0), $"{result}: {said}");
        return said.Trim();
    }
}
