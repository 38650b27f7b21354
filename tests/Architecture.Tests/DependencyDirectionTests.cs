using System.Reflection;

namespace Architecture.Tests;

/// <summary>Which room may know which: contracts reference nothing, no engine knows a device, no device an engine.</summary>
public class DependencyDirectionTests
{
    private static readonly Dictionary<string, string[]> Allowed = new()
    {
        ["Trapline.Core"] = [],
        ["Trapline.Host"] = ["Trapline.Core"],
        ["Trapline.Memory"] = ["Trapline.Core", "Trapline.Host"],
        ["Trapline.X86"] = ["Trapline.Core"],
        ["Trapline.Cpu"] = ["Trapline.Core", "Trapline.Host", "Trapline.Memory", "Trapline.X86"],
        ["Trapline.Kvm"] = ["Trapline.Core", "Trapline.Host", "Trapline.Memory", "Trapline.X86"],
        ["Trapline.Devices"] = ["Trapline.Core"],
        ["Trapline.Storage"] = ["Trapline.Core", "Trapline.Host"],
        ["Trapline.Network"] = ["Trapline.Core", "Trapline.Host"],
        ["Trapline.Virtio"] = ["Trapline.Core", "Trapline.Host", "Trapline.Memory", "Trapline.Devices"],
        ["Trapline.Machine"] = ["Trapline.Core", "Trapline.Host", "Trapline.Memory", "Trapline.X86", "Trapline.Cpu", "Trapline.Kvm", "Trapline.Devices", "Trapline.Virtio"],
        ["Trapline"] = ["Trapline.Core", "Trapline.Network", "Trapline.Virtio", "Trapline.X86", "Trapline.Machine"],
        ["Trapline.Control"] = ["Trapline.Core", "Trapline.Host", "Trapline.X86", "Trapline.Machine", "Trapline"],
        ["Trapline.Cli"] = ["Trapline.Core", "Trapline.Host", "Trapline.Network", "Trapline.Storage", "Trapline.Virtio", "Trapline.X86", "Trapline.Machine", "Trapline", "Trapline.Control"],
    };

    public static TheoryData<string> Rooms => [.. Repository.Projects("src").Keys];

    [Theory]
    [MemberData(nameof(Rooms))]
    public void ProjectsReferenceOnlyWhatTheirRoomMayKnow(string room)
    {
        Assert.True(Allowed.ContainsKey(room), $"{room} is a new room: say here what it may reference");
        IEnumerable<string> references = Repository.Projects("src")[room].Descendants("ProjectReference")
            .Select(r => Path.GetFileNameWithoutExtension(r.Attribute("Include")!.Value.Replace('\\', '/')));
        Assert.Empty(references.Except(Allowed[room]));
    }

    [Theory]
    [MemberData(nameof(Rooms))]
    public void AssembliesUseOnlyWhatTheirRoomMayKnow(string room)
    {
        IEnumerable<string> used = Assembly.Load(room).GetReferencedAssemblies().Select(a => a.Name!)
            .Where(n => n == "Trapline" || n.StartsWith("Trapline.", StringComparison.Ordinal));
        Assert.Empty(used.Except(Allowed[room]));
    }

    [Fact]
    public void UnsafeCodeIsOnlyInTheListedRooms()
    {
        string[] rooms = ["Trapline.Host", "Trapline.Memory", "Trapline.Cpu", "Trapline.Kvm"];
        string[] tests = [.. rooms.Select(r => r + ".Tests"), "Engines.Differential", "Fuzz"];
        Assert.Empty(AllowUnsafe("src").Except(rooms));
        Assert.Empty(AllowUnsafe("tests").Except(tests));
    }

    private static IEnumerable<string> AllowUnsafe(string folder) =>
        Repository.Projects(folder)
            .Where(p => p.Value.Descendants("AllowUnsafeBlocks").Any(e => e.Value.Trim().Equals("true", StringComparison.OrdinalIgnoreCase)))
            .Select(p => p.Key);
}
