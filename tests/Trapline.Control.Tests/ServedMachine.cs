using Iced.Intel;
using Trapline.Control.Client;
using Trapline.Control.Server;
using Trapline.Control.Sockets;
using Trapline.Machine;
using Trapline.Machine.Tests;
using Trapline.Testing;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Control.Tests;

/// <summary>A small guest that counts for ever, served by name in a runtime directory of its own.</summary>
internal sealed class ServedMachine : IAsyncDisposable
{
    public const string Name = "small";

    private readonly TemporaryDirectory _folder = new();
    private readonly NamedMachines _machines;

    public ServedMachine(IGuestPrograms? programs = null, DeviceSpecification? devices = null)
    {
        Machine = VirtualMachine.Create(SmallGuest.Specification(Count, Line) with { Devices = devices ?? new DeviceSpecification(), End = new EndSpecification { Timeout = TimeSpan.FromMinutes(5) } });
        Directory = RuntimeDirectory.Open(_folder.File("run"));
        ControlSocket socket = ControlSocket.Claim(Directory, Name);
        SocketPath = socket.Path;
        _machines = new NamedMachines(Directory);
        _machines.Add(socket, Machine, programs);
        Client = new ControlClient(SocketPath);
        Machine.Start();
    }

    public DebugLine Line { get; } = new();
    public VirtualMachine Machine { get; }
    public RuntimeDirectory Directory { get; }
    public string SocketPath { get; }
    public ControlClient Client { get; }

    /// <summary>Whether guest code runs: it says something now and then.</summary>
    public async Task<bool> RunsAsync()
    {
        int before = Line.Count;
        for (int tries = 0; tries < 100 && Line.Count == before; tries++)
            await Task.Delay(20);
        return Line.Count != before;
    }

    public async ValueTask DisposeAsync()
    {
        Client.Dispose();
        await _machines.DisposeAsync();
        Machine.Dispose();
        _folder.Dispose();
    }

    private static void Count(Assembler a)
    {
        Label again = a.CreateLabel(), inner = a.CreateLabel();
        a.Label(ref again);
        a.mov(ecx, 100_000);
        a.Label(ref inner);
        a.dec(ecx);
        a.jnz(inner);
        SmallGuest.Say(a, '.');
        a.jmp(again);
    }
}
