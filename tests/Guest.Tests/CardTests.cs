using System.Text;
using Trapline;
using Trapline.Agent;
using Trapline.Core;
using Trapline.Images;
using Trapline.Machine;
using Trapline.Testing;

namespace Guest.Tests;

/// <summary>Network cards in a Linux guest: frames small and large, on PCI and in memory, and in machines that are copies.</summary>
[Collection("guests")]
public sealed class CardTests : IDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(3);

    private readonly TemporaryDirectory _folder = new();

    public void Dispose() => _folder.Dispose();

    private static async Task<VirtualMachine> BootAsync(string engine, int cpus, bool withoutPci, params NetworkDevice[] cards)
    {
        GuestImages images = await GuestImageStore.ForUser().GetAsync(null, CancellationToken.None);
        VirtualMachine machine = VirtualMachine.CreateDefaultGuest(images, new MachineSpecification
        {
            Cpu = new CpuSpecification { Engine = engine, Count = cpus },
            Devices = new DeviceSpecification { Networks = cards, WithoutPci = withoutPci },
            End = new EndSpecification { NoReboot = true },
        });
        machine.Start();
        Assert.True(await machine.WaitForAgentAsync().WaitAsync(Limit));
        return machine;
    }

    private static async Task<string> AskAsync(VirtualMachine machine, string script)
    {
        using MemoryStream output = new();
        ProgramResult result = await machine.ExecuteAsync(VirtualMachine.Program("sh", "-ec", script) with { Stdout = output, Stderr = output }).WaitAsync(Limit);
        string said = Encoding.UTF8.GetString(output.ToArray());
        Assert.True(result == new ProgramResult(ProgramEnd.Exited, 0), $"{result}: {said}");
        return said;
    }

    [GuestTheory]
    [InlineData("translator", 1, false)]
    [InlineData("translator", 2, false)]
    [InlineData("translator", 1, true)]
    [InlineData("interpreter", 1, false)]
    public async Task FramesGoBothWays(string engine, int cpus, bool withoutPci)
    {
        EchoHost host = new(mtu: 9000);
        MacAddress address = MacAddress.Random();
        using VirtualMachine machine = await BootAsync(engine, cpus, withoutPci, new NetworkDevice("echo", host, address));
        string said = await AskAsync(machine, """
            ip link set eth0 up; ip addr add 10.0.0.2/24 dev eth0 2>/dev/null || true; cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu /sys/class/net/eth0/carrier
            ls -d /sys/class/net/eth0/queues/tx-* | wc -l; ping -q -c 3 -i 0.05 10.0.0.1; ping -q -c 3 -i 0.05 -s 8900 10.0.0.1
            """);
        Assert.StartsWith($"{address}\n9000\n1\n{cpus}\n", said, StringComparison.Ordinal);
        Assert.Equal(2, said.Split("3 packets received").Length - 1);
        Assert.Contains(address, host.Heard);
        await machine.PowerOffAsync();
    }

    [GuestTheory]
    [InlineData("translator")]
    public async Task CopiesHaveAddressesOfTheirOwn(string engine)
    {
        const string Ping = "ping -q -c 3 -i 0.05 10.0.0.1 | grep received; cat /sys/class/net/eth0/address";
        EchoHost first = new(1500);
        using VirtualMachine machine = await BootAsync(engine, 1, false, new NetworkDevice("echo", first, MacAddress.Random()));
        await AskAsync(machine, "ip link set eth0 up; ip addr add 10.0.0.2/24 dev eth0 2>/dev/null || true; " + Ping);
        string path = _folder.File("snapshot");
        await machine.SaveAsync(path);
        EchoHost[] hosts = [new(1500), new(1500), new(1500)];
        IReadOnlyList<VirtualMachine> copies = await machine.ForkAsync(3, (i, s) => i == 2 ? s : s with { Devices = On(s.Devices, hosts[i]) });
        using VirtualMachine restored = VirtualMachine.Restore(path, s => s with { Devices = On(s.Devices, hosts[2]) });
        restored.Start();
        HashSet<string> addresses = [];
        foreach ((VirtualMachine each, EchoHost? host) in new (VirtualMachine, EchoHost?)[] { (machine, first), (copies[0], hosts[0]), (copies[1], hosts[1]), (copies[2], null), (restored, hosts[2]) })
        {
            string own = each.Specification.Devices.Networks[0].Address.ToString();
            Assert.True(addresses.Add(own));
            if (host is null)
            {
                Assert.Equal($"{own}\n0\n", await AskAsync(each, "cat /sys/class/net/eth0/address; sleep 0.1; cat /sys/class/net/eth0/carrier"));
                continue;
            }
            Assert.Equal($"3 packets transmitted, 3 packets received, 0% packet loss\n{own}\n", await AskAsync(each, Ping));
            Assert.Contains(each.Specification.Devices.Networks[0].Address, host.Heard);
        }
        foreach (VirtualMachine copy in copies)
            copy.Dispose();

        static DeviceSpecification On(DeviceSpecification devices, EchoHost host) => devices with { Networks = [devices.Networks[0] with { Backend = host }] };
    }
}
