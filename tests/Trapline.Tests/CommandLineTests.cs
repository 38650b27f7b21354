using System.Text;
using Trapline.Cli;
using Trapline.Cli.Options;
using Trapline.Machine;
using Trapline.Testing;

namespace Trapline.Tests;

public class CommandLineTests
{
    [Theory]
    [InlineData("--memory '12Q'", "run", "--memory", "12Q")]
    [InlineData("--memory ''", "run", "--memory", "")]
    [InlineData("--memory '-1'", "run", "--memory=-1")]
    [InlineData("--memory '64K' is too small", "run", "--memory", "64K")]
    [InlineData("--memory '99999999999999999999G' is too large", "run", "--memory", "99999999999999999999G")]
    [InlineData("--memory '1025.3K'", "run", "--memory", "1025.3K")]
    [InlineData("--memory has no value", "run", "--memory")]
    [InlineData("--memory '2G' is given a second time", "run", "--memory", "1G", "--memory", "2G")]
    [InlineData("--engine 'jit'", "run", "--engine", "jit")]
    [InlineData("--cpu '+avx'", "run", "--cpu", "+avx")]
    [InlineData("--cpu 'max,avx': 'avx'", "run", "--cpu", "max,avx")]
    [InlineData("--device 'floppy'", "run", "--device", "floppy")]
    [InlineData("--share '.' names no tag", "run", "--share", ".")]
    [InlineData("--share ':src' names no folder", "run", "--share", ":src")]
    [InlineData("--share '.:': the tag '' is empty", "run", "--share", ".:")]
    [InlineData("--share '.:a/b': the tag 'a/b' is no tag", "run", "--share", ".:a/b")]
    [InlineData("--share '.:..': the tag '..' is no tag", "run", "--share", ".:..")]
    [InlineData("is too long: a tag has up to 36 bytes", "run", "--share", ".:a123456789012345678901234567890123456")]
    [InlineData("--share '.:a,rw': 'rw' is not known", "run", "--share", ".:a,rw")]
    [InlineData("--share '/:a': the tag 'a' is given a second time", "run", "--share", ".:a", "--share", "/:a")]
    [InlineData("--timeout 'soon'", "run", "--timeout", "soon")]
    [InlineData("--timeout '0'", "run", "--timeout", "0")]
    [InlineData("--trace 'everything': 'everything'", "run", "--trace", "everything")]
    [InlineData("--trace 'exits:' names no file", "run", "--trace", "exits:")]
    [InlineData("--serial 'com1'", "run", "--serial", "com1")]
    [InlineData("--serial 'file:'", "run", "--serial", "file:")]
    [InlineData("unknown option '--colour'", "run", "--colour")]
    [InlineData("unknown argument 'uname'", "run", "uname")]
    [InlineData("unknown command 'fly'", "fly")]
    [InlineData("no command after '--'", "run", "--")]
    [InlineData("--initrd 'x' needs a kernel", "run", "--initrd", "x")]
    [InlineData("--kernel 'x' and a command", "run", "--kernel", "x", "--", "ls")]
    [InlineData("--code-cache '512K' is out of range", "run", "--code-cache", "512K")]
    [InlineData("--code-cache '2G' is out of range", "run", "--code-cache", "2G")]
    [InlineData("--code-cache 'big' is not a size", "run", "--code-cache", "big")]
    [InlineData("--dump-block 'main' is not an address", "run", "--dump-block", "main")]
    [InlineData("--dump-block '0x8000000000000000' is no address", "run", "--dump-block", "0x8000000000000000")]
    [InlineData("--dump-block and --engine 'interpreter'", "run", "--dump-block", "1000", "--engine", "interpreter")]
    [InlineData("--perf-map and --engine 'interpreter'", "run", "--perf-map", "--engine", "interpreter")]
    [InlineData("--perf-map and --engine 'kvm'", "run", "--perf-map", "--engine", "kvm")]
    [InlineData("--trace of exceptions, walks or translate and --engine 'kvm'", "run", "--trace", "walks", "--engine", "kvm")]
    [InlineData("--name 'a b' is no name", "run", "--name", "a b")]
    [InlineData("--idle needs a name", "run", "--idle")]
    [InlineData("--idle and a command after '--' do not go together", "run", "--name", "x", "--idle", "--", "ls")]
    [InlineData("--idle and --kernel 'k' do not go together", "run", "--name", "x", "--idle", "--kernel", "k")]
    [InlineData("'../x' is no name", "pause", "../x")]
    [InlineData("no command after '--'", "exec", "x")]
    [InlineData("--patience 'soon' is not a time", "stop", "x", "--patience", "soon")]
    [InlineData("there is no code", "disasm")]
    [InlineData("--hex '123' is not code", "disasm", "--hex", "123")]
    [InlineData("--hex and --file do not go together", "disasm", "--hex", "90", "--file", "x")]
    [InlineData("--file 'missing' ", "disasm", "--file", "missing")]
    [InlineData("--address 'x' is not an address", "disasm", "--hex", "90", "--address", "x")]
    [InlineData("--hex: code of 2 bytes at 0x400fff crosses", "disasm", "--hex", "90 90", "--address", "400fff")]
    [InlineData("--code32: 32-bit code at 0xfffff000 is not translated", "disasm", "--hex", "90", "--address", "fffff000", "--code32")]
    [InlineData("--cpu: unknown CPU model 'z80'", "disasm", "--hex", "90", "--cpu", "z80")]
    [InlineData("shell 'csh'", "completion", "csh")]
    [InlineData("'cpu' needs a command", "cpu")]
    public void BadInputIsOneLineAndStatus2(string says, params string[] arguments)
    {
        using StringWriter output = new();
        using StringWriter errors = new();
        int status = CommandLine.Run(arguments, output, errors, _ => throw new InvalidOperationException("must not start"));
        Assert.Equal(ExitCodes.BadInput, status);
        Assert.StartsWith("trapline: ", errors.ToString());
        Assert.Contains(says, errors.ToString());
        Assert.Equal(1, errors.ToString().Count(c => c == '\n'));
        Assert.Equal("", output.ToString());
    }

    [Theory]
    [InlineData("512M", 512ul << 20)]
    [InlineData("512", 512ul << 20)]
    [InlineData("1.5G", 1536ul << 20)]
    [InlineData("64g", 64ul << 30)]
    [InlineData("2048K", 2ul << 20)]
    public void MemoryIsReadAsPeopleWriteIt(string text, ulong bytes) => Assert.Equal(bytes, Quantity.ParseMemory("--memory", text));

    [Theory]
    [InlineData("90", 90)]
    [InlineData("90s", 90)]
    [InlineData("1.5m", 90)]
    [InlineData("250ms", 0.25)]
    public void TimeIsReadAsPeopleWriteIt(string text, double seconds) =>
        Assert.Equal(TimeSpan.FromSeconds(seconds), Quantity.ParseTime("--timeout", text));

    [Fact]
    public void EveryOptionArrives()
    {
        RunSettings settings = Read(
            "run", "--kernel", "k", "--initrd", "i", "--append", "a=b -c", "--memory", "1G", "--cpu", "max,-avx2,+sse3", "--serial", "file:log",
            "--debugcon", "d", "--debug-exit", "--device", "testdev", "--timeout", "2m", "--engine", "interpreter", "--stats",
            "--trace", "exits,interrupts:t", "--no-reboot", "--code-cache", "8M");
        Assert.Equal(("k", "i", "a=b -c", 1ul << 30), (settings.Kernel, settings.Initrd, settings.Append, settings.MemoryBytes));
        Assert.Equal(("max", "interpreter", 8ul << 20), (settings.Cpu.Model, settings.Cpu.Engine, settings.Cpu.CodeCacheBytes));
        Assert.Equal([new FeatureChange("avx2", false), new FeatureChange("sse3", true)], settings.Cpu.Changes);
        Assert.Equal(new SerialTarget(SerialKind.File, "log"), settings.Serial);
        Assert.Equal("d", settings.DebugConsole);
        Assert.Equal(new TestSpecification { DebugExit = true, TestDevice = true }, settings.Test);
        Assert.Equal(TimeSpan.FromMinutes(2), settings.End.Timeout);
        Assert.True(settings.End.NoReboot && settings.Statistics);
        Assert.Equal(new TraceArgument(TraceKinds.Exits | TraceKinds.Interrupts, "t"), settings.Trace);
        Assert.Null(settings.Command);
    }

    [Fact]
    public void OptionsForTheTranslatorArrive()
    {
        RunSettings settings = Read("run", "--dump-block", "0xffffffff81000000,401000", "--perf-map", "--trace", "translate");
        Assert.Equal("translator", settings.Cpu.Engine); // not what "auto" would take
        Assert.Equal([0xFFFF_FFFF_8100_0000, 0x40_1000], settings.DumpBlocks);
        Assert.True(settings.PerfMap);
        Assert.Equal(TraceKinds.Translate, settings.Trace!.Value.Kinds);
    }

    [Fact]
    public void DoctorSaysWhatTheHostOffers()
    {
        using StringWriter text = new(), json = new();
        Assert.Equal(0, CommandLine.Run(["doctor"], text, TextWriter.Null, _ => 1));
        Assert.Matches("(?m)^ok +translator +can run here|^warning +translator ", text.ToString());
        Assert.Matches("(?m)^(ok|note) +KVM +", text.ToString());
        Assert.EndsWith("guests can run here\n", text.ToString());
        Assert.Equal(0, CommandLine.Run(["doctor", "--json"], json, TextWriter.Null, _ => 1));
        using System.Text.Json.JsonDocument document = System.Text.Json.JsonDocument.Parse(json.ToString());
        Assert.Contains(document.RootElement.GetProperty("findings").EnumerateArray(), f => f.GetProperty("subject").GetString() == "KVM");
        Assert.Contains(document.RootElement.GetProperty("engine").GetProperty("name").GetString(), Engines.Names);
    }

    [Theory]
    [InlineData(false, null, PreflightState.Note, "guests have none unless they are given one")]
    [InlineData(true, "passt says: no", PreflightState.Warning, "passt cannot run here: passt says: no")]
    [InlineData(true, null, PreflightState.Good, "passt runs for this user")]
    public void DoctorSaysWhetherPasstRuns(bool isInstalled, string? obstacle, PreflightState state, string finding)
    {
        PreflightReport report = new(new EngineChoice("translator", "a test"), []);
        PreflightFinding network = Assert.Single(DoctorCommand.WithNetwork(report, isInstalled, () => obstacle).Findings);
        Assert.Equal(("network", state, finding), (network.Subject, network.State, network.Finding));
    }

    [Fact]
    public void ARestoredMachineKeepsItsContextIdentifier()
    {
        Machine.SocketDevice saved = new(null, 42);
        Assert.Equal(saved with { Path = "p" }, VsockArgument.ForSaved(VsockArgument.Parse("--vsock", "p", otherwise: 0), saved));
        Assert.Equal(saved with { Path = "p" }, VsockArgument.ForSaved(VsockArgument.Parse("--vsock", "p,cid=42", otherwise: 0), saved));
        Assert.Equal(saved, VsockArgument.ForSaved(null, saved));
        Assert.Throws<Core.BadInputException>(() => VsockArgument.ForSaved(VsockArgument.Parse("--vsock", "p,cid=43", otherwise: 0), saved));
        Assert.Throws<Core.BadInputException>(() => VsockArgument.ForSaved(new Machine.SocketDevice("p"), null));
    }

    [Fact]
    public void DoctorFailsWhereGuestsCannotRun()
    {
        using StringWriter text = new();
        PreflightReport report = new(new EngineChoice("translator", "a test"), [new("host", PreflightState.Bad, "a toaster", "use a computer")]);
        Assert.Equal(ExitCodes.Failed, DoctorCommand.Write(report, text, json: false));
        Assert.Equal("BAD     host  a toaster\n              -> use a computer\nguests cannot run here\n", text.ToString());
    }

    [Fact]
    public void DisasmShowsCodeBesideItsTranslation()
    {
        using StringWriter output = new();
        string[] arguments = ["disasm", "--hex", "4889F8 f7d8 cc ebf8", "--address", "0x1000"];
        int status = CommandLine.Run(arguments, output, TextWriter.Null, _ => 1);
        if (Cpu.SoftwareVcpu.TranslatorObstacle != null)
        {
            Assert.Equal(ExitCodes.BadInput, status);
            return;
        }
        Assert.Equal(0, status);
        Assert.Matches(@"0x1000, user, hoisted: 3 instructions in 6 bytes", output.ToString());
        Assert.Matches(@"1000  mov rax, rdi *\| \+000  mov rax, rdi", output.ToString());
        Assert.Matches(@"1003  neg eax *\| \+003  neg eax", output.ToString());
        Assert.Matches(@"1005  int3 *\| \+005  call exit\n.*; the interpreter does 0x1005", output.ToString());
        Assert.Matches(@"1006  jmp short 0x1000 ", output.ToString()); // the next block
    }

    [Fact]
    public void WhatFollowsTheDashesIsTheGuests()
    {
        string[] command = ["sh", "-c", "--help", "--", "@file", "[suggest]", "", "a\nb"];
        RunSettings settings = Read(["run", "--memory", "1G", "--", .. command]);
        Assert.Equal(command, settings.Command!.Select(a => Encoding.UTF8.GetString(a.Span)));
    }

    [Fact]
    public void BytesThatAreNoTextAreFoundInTheRawCommandLine()
    {
        byte[] line = [(byte)'p', 0, (byte)'-', (byte)'-', 0, 0xFF, 0xFE, 0, 0];
        List<ReadOnlyMemory<byte>> last = RawArguments.Last(line, 2)!;
        Assert.Equal([0xFF, 0xFE], last[0].ToArray());
        Assert.Empty(last[1].ToArray());
        Assert.Null(RawArguments.Last(line, 9));
    }

    [Theory]
    [InlineData("missing", "does not exist")]
    [InlineData(".", "is a directory")]
    [InlineData("empty", "is empty")]
    [InlineData("large", "larger than the memory")]
    public void BootFilesAreCheckedBeforeUse(string name, string says)
    {
        using TemporaryDirectory directory = new();
        File.WriteAllBytes(directory.File("empty"), []);
        File.WriteAllBytes(directory.File("large"), new byte[4096]);
        var complaint = Assert.Throws<Core.BadInputException>(() => InputFile.Read("--kernel", directory.File(name), "a kernel", 4096));
        Assert.Contains("--kernel '", complaint.Message);
        Assert.Contains(says, complaint.Message);
    }

    [Theory]
    [InlineData("kernel 'x' is not a kernel", "--kernel 'x' is not a kernel")]
    [InlineData("unknown CPU model 'x'", "--cpu: unknown CPU model 'x'")]
    [InlineData("something else", "something else")]
    public void ComplaintsOfTheMachineNameTheOption(string complaint, string says) =>
        Assert.Equal(says, OptionNames.Named(new Core.BadInputException(complaint)).Message);

    [Theory]
    [InlineData(MachineEnd.PowerOff, 0)]
    [InlineData(MachineEnd.Reboot, 0)]
    [InlineData(MachineEnd.Stopped, 0)]
    [InlineData(MachineEnd.TripleFault, 70)]
    [InlineData(MachineEnd.Panic, 71)]
    [InlineData(MachineEnd.Failed, 72)]
    [InlineData(MachineEnd.TimedOut, 124)]
    [InlineData(MachineEnd.DebugExit, 33)]
    public void EndsHaveTheirStatus(MachineEnd end, int status) => Assert.Equal(status, ExitCodes.For(new MachineOutcome(end, "", 33)));

    [Fact]
    public void HelpNamesTheCommandTheExamplesAndTheStatuses()
    {
        using StringWriter output = new();
        Assert.Equal(0, CommandLine.Run(["run", "--help"], output, TextWriter.Null, _ => 1));
        Assert.Contains("trapline run", output.ToString());
        Assert.Contains("Examples:", output.ToString());
        Assert.Contains("Exit status:", output.ToString());
    }

    private static RunSettings Read(params string[] arguments)
    {
        RunSettings? settings = null;
        using StringWriter errors = new();
        Assert.Equal(0, CommandLine.Run(arguments, TextWriter.Null, errors, s =>
        {
            settings = s;
            return 0;
        }));
        Assert.Equal("", errors.ToString());
        return settings!;
    }
}
