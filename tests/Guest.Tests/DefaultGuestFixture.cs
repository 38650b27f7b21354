using System.Text;
using Trapline;
using Trapline.Agent;
using Trapline.Images;
using Trapline.Machine;

namespace Guest.Tests;

/// <summary>One booted guest that all tests of a class share; booting is what is slow.</summary>
public abstract class DefaultGuestFixture(string engine, int vcpus = 1) : IAsyncLifetime
{
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan CommandLimit = TimeSpan.FromMinutes(5);

    private VirtualMachine? _machine;

    /// <summary>Boots at the first use, so that skipped tests cost nothing.</summary>
    public async Task<VirtualMachine> MachineAsync()
    {
        if (_machine != null)
            return _machine;
        GuestImages images = await GuestImageStore.ForUser().GetAsync(null, CancellationToken.None);
        _machine = VirtualMachine.CreateDefaultGuest(images, new MachineSpecification
        {
            Cpu = new CpuSpecification { Engine = engine, Count = vcpus },
            End = new EndSpecification { NoReboot = true },
        });
        _machine.Start();
        bool ready = await _machine.WaitForAgentAsync().WaitAsync(BootLimit);
        Assert.True(ready, "the guest ended while it booted:\n" + string.Join('\n', _machine.LastConsoleLines(30)));
        return _machine;
    }

    public async Task<Ran> RunAsync(GuestProgram program)
    {
        VirtualMachine machine = await MachineAsync();
        using MemoryStream output = new();
        using MemoryStream errors = new();
        ProgramResult result = await machine.ExecuteAsync(program with { Stdout = output, Stderr = errors }).WaitAsync(CommandLimit);
        Assert.NotEqual(ProgramEnd.GuestGone, result.End);
        return new Ran(result, output.ToArray(), errors.ToArray());
    }

    public Task<Ran> RunAsync(params string[] arguments) => RunAsync(VirtualMachine.Program(arguments));

    public Task<Ran> ShellAsync(string script) => RunAsync("sh", "-c", script);

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        if (_machine == null)
            return;
        MachineOutcome outcome = await _machine.PowerOffAsync();
        _machine.Dispose();
        Assert.Equal(MachineEnd.PowerOff, outcome.End);
    }
}

public sealed class InterpretedGuest() : DefaultGuestFixture("interpreter");

public sealed class TranslatedGuest() : DefaultGuestFixture("translator");

public sealed class FourProcessors() : DefaultGuestFixture("translator", 4);

/// <summary>What a program in the guest did.</summary>
public sealed record Ran(ProgramResult Result, byte[] Output, byte[] Errors)
{
    public string Text => Encoding.UTF8.GetString(Output);

    public string ErrorText => Encoding.UTF8.GetString(Errors);
}
