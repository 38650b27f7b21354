namespace Trapline.Cpu.Tests;

/// <summary>Every line of <c>cases/*.txt</c>. Add a line to add a test; see <see cref="InstructionCase"/> for the format.</summary>
public class InstructionCaseTests
{
    private static string Folder => Path.Combine(AppContext.BaseDirectory, "cases");

    public static TheoryData<string> Files => new(Directory.GetFiles(Folder, "*.txt").Select(f => Path.GetFileName(f)));

    [Theory]
    [MemberData(nameof(Files))]
    public void Cases_hold(string file)
    {
        Dictionary<CodeSize, CpuHarness> harnesses = [];
        List<string> wrong = [];
        int count = 0;
        foreach (string line in File.ReadLines(Path.Combine(Folder, file)))
        {
            if (InstructionCase.Parse(line) is not { } test)
                continue;
            if (!harnesses.TryGetValue(test.Size, out CpuHarness? harness))
                harnesses[test.Size] = harness = new CpuHarness(test.Size);
            if (test.Run(harness) is { } message)
                wrong.Add(message);
            count++;
        }
        foreach (CpuHarness harness in harnesses.Values)
            harness.Dispose();
        Assert.True(wrong.Count == 0, string.Join('\n', wrong));
        Assert.NotEqual(0, count);
    }
}
