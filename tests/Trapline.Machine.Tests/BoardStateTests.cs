using System.Collections;
using System.Reflection;
using Iced.Intel;
using Trapline.Core;
using Trapline.Devices.InterruptControllers;
using Trapline.Devices.Timers;
using Trapline.Machine.Firmware;
using Trapline.Memory;
using Trapline.Testing;
using Trapline.X86;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Machine.Tests;

/// <summary>The state of a whole board: no part forgotten, and a machine goes on from it as if nothing had happened.</summary>
public class BoardStateTests
{
    /// <summary>Types that hold something which changes and is not saved, each with the reason.</summary>
    private static readonly Dictionary<string, string> NotSaved = new()
    {
        [nameof(GuestClock)] = "its time is in BoardState itself",
        ["ClockTimer"] = "its device arms it anew",
        ["TimerQueue"] = "devices arm their timers anew",
        ["EngineResources"] = "the host's virtual machine; what its vCPUs hold is exported",
        [nameof(GuestMemory)] = "RAM is in the image",
        ["HostEvent"] = "wakes a thread of this process",
        ["HostMapping"] = "RAM is in the image",
        ["DoorbellMap"] = "devices are placed anew",
        ["PciAddressSpace"] = "PCI functions map their ranges anew",
        [nameof(PortBus)] = "the board's construction and PCI functions fill it",
        ["PortBinding"] = "where the board or a PCI function put it",
        [nameof(MmioBus)] = "the board's construction and PCI functions fill it",
        ["ExitCounters"] = "statistics",
        ["MachineTrace"] = "what was traced is written",
        [nameof(ApicBus)] = "who is attached is wiring; its turn only breaks ties",
        [nameof(BackendSwitch)] = "the connection to this process's back end",
        ["VcpuThread"] = "the thread; its engine is a part",
        ["Pic8259"] = "part of PicPair",
        ["VectorSet"] = "part of LocalApic",
        ["CodePages"] = "what engines hold and may store to; they begin afresh",
        ["StealTime"] = "its register is part of ParavirtualVcpu, its account in RAM",
        ["PitCounter"] = "part of Pit8254",
        ["Comparator"] = "part of Hpet",
        ["BiosConsole"] = "part of Bios",
        ["BiosDisk"] = "part of Bios",
        ["BiosSystem"] = "part of Bios",
        ["PciBar"] = "its address is in the function's configuration space",
        [nameof(PcBoard)] = "the owner of the parts",
        ["BoardConsoles"] = "back ends of this process",
        ["VirtioParts"] = "the list of the virtio devices, which are parts",
        ["WorkGate"] = "open while the machine runs",
        ["DeviceWorkers"] = "threads of this process",
        ["VirtQueue"] = "part of its device",
        ["DescriptorChain"] = "no request is under way when a machine is saved",
        ["CommonConfiguration"] = "part of VirtioPci",
        ["ConsolePort"] = "part of VirtioConsole",
        ["ReceiveFilter"] = "part of VirtioNetwork",
        ["FrameTransmitter"] = "no frame is under way when a machine is saved",
        ["TcpSegmenter"] = "no frame is under way when a machine is saved",
        ["FrameReceiver"] = "no frame is under way when a machine is saved",
        ["FlowTable"] = "a guess that the next frames make anew",
        ["VsockHost"] = "sockets of this process",
        ["FuseExchange"] = "no request is under way when a machine is saved",
        ["NodeTable"] = "part of VirtioFileSystem",
        ["Node"] = "part of VirtioFileSystem",
        ["HandleTable"] = "part of VirtioFileSystem",
        ["MemoryDisk"] = "a back end of this process",
    };

    private static MachineSpecification Everything => new()
    {
        MemoryBytes = 16 << 20,
        Cpu = new CpuSpecification { Count = 2, Engine = "interpreter" },
        Boot = new BootSpecification { Kernel = new BootFile("sector", BootImages.BootSector()) },
        Consoles = new ConsoleSpecification
        {
            Serial = [NullCharacterBackend.Instance, NullCharacterBackend.Instance, NullCharacterBackend.Instance, NullCharacterBackend.Instance],
            DebugConsole = NullCharacterBackend.Instance,
        },
        Devices = new DeviceSpecification { Entropy = true, Disks = [new DiskDevice("memory", new MemoryDisk(1 << 20))], Networks = [new NetworkDevice("none", new AbsentNetwork(), MacAddress.Random())], Shares = [new ShareDevice("src", Path.GetTempPath())] },
        Test = new TestSpecification { DebugExit = true, TestDevice = true },
    };

    [Fact]
    public void EveryPartWithMutableStateIsSaved()
    {
        using GuestMachine machine = GuestMachine.Create(Everything);
        PcBoard board = Field<PcBoard>(machine, "_board");
        HashSet<object> saved = new(board.Parts.Devices, ReferenceEqualityComparer.Instance);
        List<string> forgotten = [];
        HashSet<object> seen = new(ReferenceEqualityComparer.Instance) { machine };
        Stack<object> todo = new([board]);
        int devices = 0;
        while (todo.TryPop(out object? item))
        {
            if (!seen.Add(item))
                continue;
            Type type = item.GetType();
            bool ours = type.Assembly.GetName().Name is "Trapline.Machine" or "Trapline.Devices" or "Trapline.Virtio" or "Trapline.Memory" or "Trapline.Host";
            if (ours && HasMutableState(type))
            {
                devices++;
                Type owner = type;
                while (owner.DeclaringType is { } outer && !NotSaved.ContainsKey(owner.Name))
                    owner = outer;
                bool nestedInSaved = owner != type && saved.Any(s => s.GetType() == owner);
                if (!saved.Contains(item) && !nestedInSaved && !NotSaved.ContainsKey(owner.Name) && !type.Name.Contains('<', StringComparison.Ordinal))
                    forgotten.Add(type.FullName!);
            }
            foreach (object next in Neighbours(item, ours))
                todo.Push(next);
        }
        Assert.True(forgotten.Count == 0, $"not saved, and no reason given: {string.Join(", ", forgotten.Distinct())}");
        Assert.True(devices > 40, $"the walk over the board found only {devices} parts");
    }

    [Fact]
    public void EverySavedStateHasANameAndVersion()
    {
        using GuestMachine machine = GuestMachine.Create(Everything);
        foreach (SavedPart part in Field<PcBoard>(machine, "_board").Save().Parts)
            Assert.True(part.State.GetType().GetCustomAttribute<SavedStateAttribute>() is { Version: > 0, Name.Length: > 0 }, $"{part.Name}: {part.State.GetType().Name}");
    }

    /// <summary>A guest that counts timer interrupts in memory, while its main loop folds a checksum of 100,000 steps.</summary>
    private static void CountTicks(Assembler a)
    {
        Label again = a.CreateLabel(), wait = a.CreateLabel();
        const uint idt = 0x30_0000, descriptor = 0x31_0000, ticks = 0x32_0000, handler = 0x33_0000;
        // push eax; inc dword [ticks]; mov al, 20h; out 20h, al; pop eax; iretd
        uint[] code = [0x0005_FF50, 0xB000_3200, 0x5820_E620, 0xCF];
        for (uint i = 0; i < code.Length; i++)
            a.mov(__dword_ptr[handler + (i * 4)], (int)code[i]);
        a.mov(esp, 0x40_0000);
        a.mov(eax, cs);
        a.shl(eax, 16);
        a.or(eax, (int)(handler & 0xFFFF));
        a.mov(__dword_ptr[idt + (0x20 * 8)], eax);
        a.mov(__dword_ptr[idt + (0x20 * 8) + 4], (int)(handler & 0xFFFF_0000) | 0x8E00);
        a.mov(__word_ptr[descriptor], 0x7FF);
        a.mov(__dword_ptr[descriptor + 2], idt);
        a.lidt(__[descriptor]);
        foreach ((byte port, byte value) in new (byte, byte)[] { (0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, 0xFE), (0x43, 0x34), (0x40, 0x00), (0x40, 0x10) })
        {
            a.mov(al, (sbyte)value);
            a.@out(port, al);
        }
        a.sti();
        a.mov(ecx, 3_000_000);
        a.mov(edx, 1);
        a.Label(ref again);
        a.imul(edx, edx, 69069);
        a.add(edx, ecx);
        a.dec(ecx);
        a.jnz(again);
        a.Label(ref wait);
        a.cmp(__dword_ptr[ticks], 500);
        a.jb(wait);
        a.cmp(edx, (int)Checksum());
        a.sete(al);
        a.@out(0xF4, al);
        a.hlt();
    }

    private static uint Checksum()
    {
        uint edx = 1;
        for (uint ecx = 3_000_000; ecx != 0; ecx--)
            edx = (edx * 69069) + ecx;
        return edx;
    }

    [Theory]
    [InlineData("interpreter", "interpreter")]
    [InlineData("interpreter", "translator")]
    [InlineData("translator", "interpreter")]
    public async Task AGuestGoesOnInAnotherMachineFromWhereAnImageWasTaken(string first, string second)
    {
        MachineSpecification specification = SmallGuest.Specification(CountTicks, new DebugLine());
        specification = specification with { Cpu = specification.Cpu with { Engine = first } };
        using GuestMachine machine = GuestMachine.Create(specification);
        machine.Start();
        List<GuestMachine> copies = [];
        for (int i = 0; i < 4; i++)
        {
            await Task.Delay(3);
            using MachineImage image = machine.Capture();
            GuestMachine copy = GuestMachine.Continue(image, specification with { Cpu = specification.Cpu with { Engine = second } });
            copies.Add(copy);
            copy.Start();
        }
        foreach (GuestMachine ended in copies.Prepend(machine))
        {
            MachineOutcome outcome = await ended.Completion;
            Assert.Equal((MachineEnd.DebugExit, 3), (outcome.End, outcome.DebugExitCode));
        }
        copies.ForEach(c => c.Dispose());
    }

    [Fact]
    public void AnImageTakenTwiceWithoutRunningIsTheSame()
    {
        using GuestMachine machine = GuestMachine.Create(Everything);
        using MachineImage image = machine.Capture();
        using GuestMachine copy = GuestMachine.Continue(image, Everything);
        using MachineImage again = copy.Capture();
        Assert.Equal(Text(image), Text(again));

        // Time of day goes on, and the copy has been told that it is one.
        static string Text(MachineImage image) => string.Join('\n', image.Board.Parts.Where(p => p.Name is not ("rtc" or "pm"))
            .Select(p => p.Name + " " + System.Text.Json.JsonSerializer.Serialize(p.State, p.State.GetType())));
    }

    [Fact]
    public void EveryMachineThatBeginsWithAnImageHasAGenerationOfItsOwn()
    {
        using GuestMachine machine = GuestMachine.Create(Everything);
        byte[] first = Generation(machine);
        using MachineImage image = machine.Capture();
        Assert.Equal(first, Generation(machine)); // the original stays what it was
        using GuestMachine one = GuestMachine.Continue(image, Everything), other = GuestMachine.Continue(image, Everything);
        Assert.Equal(3, new[] { first, Generation(one), Generation(other) }.Select(Convert.ToHexString).Distinct().Count());
        byte[] before = Generation(one);
        one.SwitchEngine("interpreter");
        Assert.Equal(before, Generation(one));
        Assert.Equal(1 << MachineConstants.GenerationEvent, Events(one));
        Assert.Equal(0, Events(machine));

        static byte Events(GuestMachine machine) => Field<PcBoard>(machine, "_board").Save().Find<AcpiPmState>("pm")!.GeneralStatus;
    }

    private static byte[] Generation(GuestMachine machine)
    {
        byte[] identifier = new byte[16];
        Assert.True(machine.Memory.TryRead(new Gpa(MachineConstants.GenerationIdAddress), identifier));
        Assert.NotEqual(new byte[16], identifier);
        return identifier;
    }

    [Fact]
    public void AMachineOfAnotherMakeIsRefused()
    {
        using GuestMachine machine = GuestMachine.Create(Everything);
        using MachineImage image = machine.Capture();
        Assert.Throws<BadInputException>(() => GuestMachine.Continue(image, Everything with { MemoryBytes = 32 << 20 }));
        string refusal = Assert.Throws<BadInputException>(() => GuestMachine.Continue(image, Everything with { Test = new TestSpecification() })).Message;
        Assert.Contains("'test-device'", refusal, StringComparison.Ordinal);
        Assert.Throws<BadInputException>(() => GuestMachine.Continue(image, Everything with { Consoles = new ConsoleSpecification() }));
    }

    private static T Field<T>(object item, string name) => (T)item.GetType().GetField(name, BindingFlags.NonPublic | BindingFlags.Instance)!.GetValue(item)!;

    private static bool HasMutableState(Type type)
    {
        if (type.IsValueType || type.GetMethod("<Clone>$") is not null)
            return false; // records are not changed
        for (Type? t = type; t is not null && t != typeof(object); t = t.BaseType)
        {
            foreach (FieldInfo field in t.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly))
            {
                // What a primary constructor captured is not assigned again.
                bool assigned = !field.IsInitOnly && !field.Name.EndsWith(">P", StringComparison.Ordinal) && !typeof(Delegate).IsAssignableFrom(field.FieldType);
                if (assigned || HoldsValues(field.FieldType))
                    return true;
            }
        }
        return false;
    }

    /// <summary>A collection of values: one of objects is wiring, and the walk goes on to them.</summary>
    private static bool HoldsValues(Type type) =>
        type.IsArray ? type.GetElementType()!.IsValueType
        : typeof(IEnumerable).IsAssignableFrom(type) && type.IsGenericType && type.GetGenericArguments().Any(g => g.IsValueType);

    private static IEnumerable<object> Neighbours(object item, bool ours)
    {
        if (item is Array array)
            return array.GetType().GetElementType()!.IsPrimitive ? [] : array.Cast<object?>().OfType<object>();
        if (item is Delegate { Target: { } target })
            return [target];
        if (item is IEnumerable list and not string && !ours)
            return list.Cast<object?>().OfType<object>();
        bool follow = ours || item.GetType().Name.Contains('<', StringComparison.Ordinal);
        if (!follow)
            return [];
        List<object> found = [];
        for (Type? t = item.GetType(); t is not null && t != typeof(object); t = t.BaseType)
        {
            foreach (FieldInfo field in t.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly))
            {
                if (!field.FieldType.IsPrimitive && !field.FieldType.IsPointer && field.GetValue(item) is { } value and not string)
                    found.Add(value);
            }
        }
        return found;
    }
}
