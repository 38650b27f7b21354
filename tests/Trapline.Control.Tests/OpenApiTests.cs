using System.Net.Sockets;
using System.Reflection;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using System.Text.RegularExpressions;
using Trapline.Control.Api;
using Trapline.Machine;

namespace Trapline.Control.Tests;

/// <summary>docs/openapi.yaml has every route and every property, and nothing else.</summary>
public sealed partial class OpenApiTests
{
    private static readonly Node Document = Node.Read(File.ReadAllLines(Path.Combine(AppContext.BaseDirectory, "openapi.yaml")));

    public static TheoryData<Type> Records =>
    [
        typeof(MachineList), typeof(MachineInfo), typeof(MachineReport), typeof(VcpuReport), typeof(ExitReport),
        typeof(StopRequest), typeof(EngineRequest), typeof(EngineSwitched), typeof(BalloonRequest), typeof(BalloonReport), typeof(SaveRequest), typeof(ForkRequest), typeof(MachineSaved), typeof(MachineEnded), typeof(Problem),
    ];

    [Fact]
    public void EveryRouteIsThereAndNoOther()
    {
        IEnumerable<string> routes = typeof(Routes).GetFields(BindingFlags.Public | BindingFlags.Static).Select(f => (string)f.GetRawConstantValue()!);
        Assert.Equal(routes.Order(), Document["paths"].Names.Order());
    }

    /// <summary>The server takes the methods that are written down, and refuses the others as not being of the API.</summary>
    [Fact]
    public async Task EveryMethodIsThereAndNoOther()
    {
        await using ServedMachine served = new();
        foreach (string path in Document["paths"].Names)
        {
            foreach (string method in (string[])["get", "post", "put", "patch", "delete"])
            {
                // A name that nobody has: nothing happens to the machine, and the answer tells a route from none.
                string answer = await AskAsync(served.SocketPath, method, Routes.For(path, "nobody"));
                bool refused = answer.Contains("is not a request of this API", StringComparison.Ordinal);
                Assert.True(Document["paths"][path].Names.Contains(method) == !refused, $"{method} {path}: {answer}");
            }
        }
    }

    [Fact]
    public void EveryRecordIsThereAndNoOther()
    {
        IEnumerable<string> records = typeof(Routes).Assembly.GetTypes()
            .Where(t => t is { Namespace: "Trapline.Control.Api", IsPublic: true } && ApiJson.Default.GetTypeInfo(t) is { Kind: JsonTypeInfoKind.Object })
            .Select(t => t.Name);
        Assert.Equal(records.Order(), Document["components"]["schemas"].Names.Order());
        Assert.Equal(((IEnumerable<object[]>)Records).Select(r => ((Type)r[0]).Name).Order(), records.Order());
    }

    [Theory]
    [MemberData(nameof(Records))]
    public void EveryPropertyIsThereAndNoOther(Type record)
    {
        JsonTypeInfo type = ApiJson.Default.GetTypeInfo(record)!;
        Node schema = Document["components"]["schemas"][record.Name];
        Assert.Equal(type.Properties.Select(p => p.Name).Order(), schema["properties"].Names.Order());
        string required = schema.Names.Contains("required") ? schema["required"].Value : "[]";
        Assert.Equal(type.Properties.Where(p => p.IsRequired).Select(p => p.Name).Order(), required.Trim('[', ']').Split(", ", StringSplitOptions.RemoveEmptyEntries).Order());
    }

    [Theory]
    [InlineData("MachineInfo", "state", typeof(MachineState))]
    [InlineData("MachineEnded", "end", typeof(MachineEnd))]
    [InlineData("ExitReport", "kind", typeof(ExitKind))]
    public void EveryWordIsThereAndNoOther(string record, string property, Type words)
    {
        string values = Enumeration().Match(Document["components"]["schemas"][record]["properties"][property].Value).Groups[1].Value;
        Assert.Equal(Enum.GetNames(words).Select(JsonNamingPolicy.KebabCaseLower.ConvertName), values.Split(", "));
    }

    private static async Task<string> AskAsync(string path, string method, string target)
    {
        using Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(path));
        using NetworkStream stream = new(socket);
        await stream.WriteAsync(Encoding.ASCII.GetBytes(
            $"{method.ToUpperInvariant()} {target} HTTP/1.1\r\nHost: x\r\nConnection: {(target.EndsWith("/exec", StringComparison.Ordinal) ? "Upgrade\r\nUpgrade: " + ExecProtocol.Name : "close")}\r\n\r\n"));
        byte[] buffer = new byte[4096];
        StringBuilder answer = new();
        int count;
        while (!answer.ToString().Contains('}') && (count = await stream.ReadAsync(buffer).AsTask().WaitAsync(TimeSpan.FromMinutes(1))) > 0)
            answer.Append(Encoding.UTF8.GetString(buffer, 0, count));
        return answer.ToString();
    }

    [GeneratedRegex(@"enum: \[([^\]]*)\]")]
    private static partial Regex Enumeration();

    /// <summary>As much of YAML as that file needs: block mappings by their indentation, values as they are written.</summary>
    private sealed class Node(string value)
    {
        private readonly Dictionary<string, Node> _children = [];

        public string Value => value;

        public IReadOnlyCollection<string> Names => _children.Keys;

        public Node this[string name] => _children[name];

        public static Node Read(string[] lines)
        {
            Node root = new("");
            Stack<(int Indent, Node Node)> open = new([(-1, root)]);
            int skipDeeperThan = int.MaxValue;
            foreach (string line in lines.Where(l => l.Trim().Length > 0))
            {
                int indent = line.Length - line.TrimStart().Length;
                if (indent > skipDeeperThan || line.TrimStart().StartsWith("- ", StringComparison.Ordinal))
                    continue;
                skipDeeperThan = int.MaxValue;
                string text = line.Trim();
                int colon = text.EndsWith(':') ? text.Length - 1 : text.IndexOf(": ", StringComparison.Ordinal);
                Assert.True(colon > 0, $"not a line of a mapping: {line}");
                while (open.Peek().Indent >= indent)
                    open.Pop();
                Node node = new(text[(colon + 1)..].Trim());
                Assert.True(open.Peek().Node._children.TryAdd(text[..colon].Trim('"'), node), $"twice: {line}");
                open.Push((indent, node));
                if (node.Value is "|" or ">-")
                    skipDeeperThan = indent;
            }
            return root;
        }
    }
}
