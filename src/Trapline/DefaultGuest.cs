using Trapline.Agent;
using Trapline.Consoles;
using Trapline.Core;
using Trapline.Images;
using Trapline.Machine;

namespace Trapline;

/// <summary>How the default guest is wired: its kernel command line and the port of its agent.</summary>
internal static class DefaultGuest
{
    /// <summary>The agent's line is COM2: the guest calls it ttyS1.</summary>
    private const int AgentPort = 1;

    /// <summary>
    /// The console is the first serial port, quiet but for errors; a panic shows there and ends the guest at once.
    /// The kernel's self-tests of its cryptography are left out: they were two fifths of a boot.
    /// </summary>
    private const string CommandLine = "console=ttyS0,115200 quiet panic=-1 cryptomgr.notests";

    /// <summary>Fills in what the caller left open: kernel, initramfs, ports.</summary>
    public static MachineSpecification Complete(MachineSpecification specification, GuestImages images, AgentChannel agent, string? append)
    {
        ICharacterBackend?[] ports = new ICharacterBackend?[Math.Max(specification.Consoles.Serial.Count, AgentPort + 1)];
        for (int i = 0; i < specification.Consoles.Serial.Count; i++)
            ports[i] = specification.Consoles.Serial[i];
        ports[0] ??= NullCharacterBackend.Instance;
        ports[AgentPort] = agent;
        string line = string.Join(' ', (string[])[CommandLine, .. Addresses(specification.Devices.Networks), .. Shares(specification.Devices.Shares), .. string.IsNullOrEmpty(append) ? [] : new[] { append }]);
        return specification with
        {
            Boot = new BootSpecification
            {
                Kernel = new BootFile(images.KernelPath, images.Kernel),
                Initrd = new BootFile("the default guest's initramfs", Initramfs.Build(images, GuestModules.For(specification))),
                CommandLine = line,
            },
            Consoles = specification.Consoles with { Serial = ports },
        };
    }

    /// <summary>What init reads (guests/init/net.c): a guest that knows its addresses need not wait for somebody to tell it.</summary>
    private static IEnumerable<string> Addresses(IReadOnlyList<NetworkDevice> networks)
    {
        for (int i = 0; i < networks.Count; i++)
        {
            if (networks[i].Guest is { } guest)
                yield return $"trapline.eth{i}={guest.Ip4},{guest.Gateway4},{guest.NameServer},{guest.Ip6},{guest.Gateway6}";
        }
    }

    /// <summary>What init mounts (guests/init/share.c).</summary>
    private static IEnumerable<string> Shares(IReadOnlyList<ShareDevice> shares) =>
        shares.Count == 0 ? [] : ["trapline.shares=" + string.Join(',', shares.Select(s => s.ReadOnly ? s.Tag + ":ro" : s.Tag))];

    /// <summary>Puts a tail on the first port, for the lines that explain an end.</summary>
    public static MachineSpecification WithTail(MachineSpecification specification, out ConsoleTail? tail)
    {
        tail = null;
        if (specification.Consoles.Serial is not [{ } first, ..])
            return specification;
        tail = new ConsoleTail(first);
        return specification with
        {
            Consoles = specification.Consoles with { Serial = [tail, .. specification.Consoles.Serial.Skip(1)] },
        };
    }
}
