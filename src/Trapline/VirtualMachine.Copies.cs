using Trapline.Agent;
using Trapline.Consoles;
using Trapline.Core;
using Trapline.Machine;
using Trapline.Network;

namespace Trapline;

/// <summary>Machines in files, and machines that begin as copies of others.</summary>
public sealed partial class VirtualMachine
{
    private readonly CancellationTokenSource _disposing = new();
    private readonly List<INetworkBackend> _connections = [];
    private Snapshot? _snapshot;

    /// <summary>
    /// Whether all RAM of a restored machine was found as it was saved. The check runs while the guest does, which reads RAM from the file as it
    /// touches it; a machine whose file turns out to be damaged is ended, and its outcome says so.
    /// </summary>
    public Task<bool> MemoryChecked { get; private set; } = Task.FromResult(true);

    /// <summary>The machine has an agent that runs programs.</summary>
    public bool HasAgent => _agent != null;

    /// <summary>Saves the machine to a file, from which any number of machines can go on. The guest stands for some milliseconds.</summary>
    /// <remarks>What was at the path stays whole until the new file is whole and on the disk.</remarks>
    /// <returns>For how long the guest stood.</returns>
    /// <exception cref="BadInputException">The file cannot be written.</exception>
    /// <exception cref="InvalidOperationException">The machine has ended.</exception>
    public Task<TimeSpan> SaveAsync(string path) => Task.Run(() =>
    {
        using MachineImage image = _machine.Capture(out TimeSpan pause);
        Snapshot.Write(image, path);
        return pause;
    });

    /// <summary>Makes a machine that goes on where another was saved, at <see cref="Start"/>.</summary>
    /// <param name="path">The file; it may be replaced, but not changed in place, as long as the machine lives.</param>
    /// <param name="change">What is to differ: consoles, engine, diagnostics, what ends the machine. It is given the saved machine's.</param>
    /// <exception cref="BadInputException">The file is not there, damaged, foreign or newer; or the machine was changed too much.</exception>
    public static VirtualMachine Restore(string path, Func<MachineSpecification, MachineSpecification>? change = null)
    {
        Snapshot snapshot = Snapshot.Open(path);
        try
        {
            MachineSpecification specification = change is null ? snapshot.Image.Specification : change(snapshot.Image.Specification);
            int agentPort = snapshot.Protocols.FirstOrDefault(p => p.Value == AgentChannel.Protocol, new(-1, "")).Key;
            VirtualMachine vm = Continue(snapshot.Image, specification, agentPort);
            vm._snapshot = snapshot;
            vm.MemoryChecked = Task.Run(() => vm.CheckMemory(snapshot));
            return vm;
        }
        catch
        {
            snapshot.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Makes running copies of this machine, in this process: RAM is shared page by page until written. The guest stands for some milliseconds.
    /// </summary>
    /// <param name="count">How many, at least 1.</param>
    /// <param name="change">What is to differ in copy number n, from 0: it is given this machine's specification with back ends that go nowhere, and without traces.</param>
    /// <remarks>
    /// A copy of the default guest gets a time of day, a seed and addresses of its network cards of its own before it runs a program for its host. What programs had drawn from
    /// their own random numbers before is the same in all copies. A program that ran goes on in each copy, without its streams. Its network cards are
    /// connected to the same networks (<see cref="NetworkDevice.ConnectCopy"/>), without the machine's published ports, which lead to one machine only.
    /// </remarks>
    /// <param name="published">Ports of the host that lead to the first copy, as <c>trapline run --publish</c> has them; those n further lead to copy number n.</param>
    /// <exception cref="BadInputException">A disk that can be written would be shared, or a port cannot be published.</exception>
    /// <exception cref="InvalidOperationException">The machine has ended.</exception>
    public Task<IReadOnlyList<VirtualMachine>> ForkAsync(
        int count, Func<int, MachineSpecification, MachineSpecification>? change = null, IReadOnlyList<string>? published = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        PublishedPort[] ports = [.. (published ?? []).Select(text => PublishedPort.Parse("--publish", text))];
        if (ports.Length > 0 && !Specification.Devices.Networks.Any(n => n.Publishes))
            throw new BadInputException($"--publish '{published![0]}' needs a machine with a network of the kind user");
        return Task.Run(() => Fork(count, change, ports));
    }

    private IReadOnlyList<VirtualMachine> Fork(int count, Func<int, MachineSpecification, MachineSpecification>? change, PublishedPort[] ports)
    {
        using MachineImage image = _machine.Capture();
        ConsoleSpecification consoles = image.Specification.Consoles;
        MachineSpecification specification = image.Specification with
        {
            Diagnostics = new DiagnosticsSpecification { TimeExits = image.Specification.Diagnostics.TimeExits },
            Consoles = new ConsoleSpecification
            {
                Serial = [.. consoles.Serial.Select(port => port is null ? null : NullCharacterBackend.Instance)],
                DebugConsole = consoles.DebugConsole is null ? null : NullCharacterBackend.Instance,
                Ports = [.. consoles.Ports.Select(port => port with { Backend = NullCharacterBackend.Instance })],
            },
        };
        int agentPort = _agent is null ? -1 : consoles.Serial.ToList().IndexOf(_agent);
        List<VirtualMachine> copies = [];
        try
        {
            for (int i = 0; i < count; i++)
            {
                MachineSpecification given = specification with { Devices = specification.Devices.ForCopy() };
                MachineSpecification own = change is null ? given : change(i, given);
                CheckDisks(image.Specification.Devices, own.Devices);
                copies.Add(ContinueConnected(image, own, given.Devices.Networks, agentPort, [.. ports.Select(p => p.ForCopy(i).ToString())]));
                copies[i].Start(paused: true);
            }
            // Nobody has the first before the last is made: until then they would only take the processors from who makes them.
            copies.ForEach(copy => copy._machine.Resume());
            return copies;
        }
        catch
        {
            copies.ForEach(copy => copy.Dispose());
            throw;
        }
    }

    /// <summary>Makes the copy, with a connection of its own for each card that was not given another.</summary>
    private static VirtualMachine ContinueConnected(MachineImage image, MachineSpecification specification, IReadOnlyList<NetworkDevice> unconnected, int agentPort, string[] published)
    {
        List<INetworkBackend> connections = [];
        NetworkDevice[] networks = [.. specification.Devices.Networks];
        try
        {
            for (int i = 0; i < Math.Min(networks.Length, unconnected.Count); i++)
            {
                if (networks[i].ConnectCopy is not { } connect || networks[i].Backend != unconnected[i].Backend)
                    continue;
                bool leads = networks[i].Publishes && networks[..i].All(n => !n.Publishes);
                connections.Add(connect(leads ? published : []));
                networks[i] = networks[i] with { Backend = connections[^1] };
            }
            VirtualMachine vm = Continue(image, specification with { Devices = specification.Devices with { Networks = networks } }, agentPort);
            vm._connections.AddRange(connections);
            return vm;
        }
        catch
        {
            connections.ForEach(connection => connection.Dispose());
            throw;
        }
    }

    /// <summary>Two guests that write to one disk, each thinking it its own, destroy what is on it.</summary>
    private static void CheckDisks(DeviceSpecification original, DeviceSpecification copy)
    {
        foreach (DiskDevice disk in copy.Disks)
        {
            if (!disk.Backend.IsReadOnly && original.Disks.Any(d => ReferenceEquals(d.Backend, disk.Backend)))
                throw new BadInputException($"disk '{disk.Name}' can be written, so copies of the machine cannot share it: make it read-only, or give each copy an overlay of its own");
        }
    }

    private bool CheckMemory(Snapshot snapshot)
    {
        if (snapshot.CheckMemory(_disposing.Token) is not { } damage)
            return true;
        _machine.Fail(damage);
        return false;
    }

    private static VirtualMachine Continue(MachineImage image, MachineSpecification specification, int agentPort)
    {
        AgentChannel? agent = agentPort < 0 ? null : new AgentChannel();
        try
        {
            if (agent != null)
            {
                ICharacterBackend?[] ports = [.. specification.Consoles.Serial];
                ports[agentPort] = agent;
                specification = specification with { Consoles = specification.Consoles with { Serial = ports } };
            }
            specification = DefaultGuest.WithTail(specification, out ConsoleTail? tail);
            VirtualMachine vm = new(GuestMachine.Continue(image, specification), agent, tail);
            agent?.Refresh();
            agent?.ChangeAddresses(vm._machine.NetworkAddresses);
            return vm;
        }
        catch
        {
            agent?.Dispose();
            throw;
        }
    }
}
