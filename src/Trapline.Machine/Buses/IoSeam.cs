using System.Globalization;
using Trapline.Core;
using Trapline.Devices.InterruptControllers;
using Trapline.Host;
using Trapline.X86;

namespace Trapline.Machine;

/// <summary>The machine's side of every engine's I/O: finds the device, counts, and when asked times and traces.</summary>
internal sealed class IoSeam : IIoSeam
{
    private const int OtherMsrs = 0x100;

    private readonly PortBus _ports;
    private readonly MmioBus _memory;
    private readonly LocalApic[] _localApics;
    private readonly MachineMsrs[] _msrs;
    private readonly ParavirtualVcpu[] _paravirtual;
    private readonly Hypercalls _hypercalls;
    private readonly ExitCounters _hypercallCounters;
    private readonly GuestClock _clock;
    private readonly MachineTrace _trace;
    private readonly bool _timing;
    private readonly bool _tracing;

    // x2APIC registers by number, then all others; two cells each. Then the local APIC page and the task priority.
    private readonly ExitCounters _msrCounters;
    private readonly ExitCounters _apicPage;
    private readonly ExitCounters _taskPriority;

    public IoSeam(PortBus ports, MmioBus memory, LocalApic[] localApics, MachineMsrs[] msrs, ParavirtualVcpu[] paravirtual, Hypercalls hypercalls, GuestClock clock,
        MachineTrace trace, bool timing)
    {
        (_ports, _memory, _localApics, _msrs, _paravirtual) = (ports, memory, localApics, msrs, paravirtual);
        (_hypercalls, _clock, _trace, _timing) = (hypercalls, clock, trace, timing);
        _hypercallCounters = new ExitCounters(localApics.Length, 1);
        _tracing = trace.Wants(TraceKinds.Exits | TraceKinds.Unclaimed);
        _msrCounters = new ExitCounters(localApics.Length, (OtherMsrs + 1) * 2);
        _apicPage = new ExitCounters(localApics.Length, 2);
        _taskPriority = new ExitCounters(localApics.Length, 2);
    }

    public ulong TimeStampCounter => _clock.TimeStampCounter;
    public ulong? TimeStampLead => _clock.TimeStampLead;

    public uint PortIn(int vcpu, ushort port, int size)
    {
        long start = Start();
        uint value = _ports.Read(vcpu, port, size, out ExitCounters counters, out int cell);
        Finish(start, vcpu, counters, cell);
        if (_tracing)
            _trace.Access(vcpu, ExitKind.PortIn, port, size, value, _ports.Find(port) is not null);
        return value;
    }

    public void PortOut(int vcpu, ushort port, int size, uint value)
    {
        if (_tracing)
            _trace.Access(vcpu, ExitKind.PortOut, port, size, value, _ports.Find(port) is not null);
        long start = Start();
        _ports.Write(vcpu, port, size, value, out ExitCounters counters, out int cell);
        Finish(start, vcpu, counters, cell);
    }

    public ulong MmioRead(int vcpu, Gpa address, int size)
    {
        long start = Start();
        ulong value;
        if (IsApicPage(vcpu, address, out LocalApic apic))
        {
            _apicPage.Count(vcpu, 0);
            value = apic.ReadMmio(address.Value & 0xFFF, size);
            Finish(start, vcpu, _apicPage, 0);
        }
        else
        {
            value = _memory.Read(vcpu, address.Value, size, out ExitCounters counters);
            Finish(start, vcpu, counters, 0);
        }
        if (_tracing)
            _trace.Access(vcpu, ExitKind.MmioRead, address.Value, size, value, IsClaimed(vcpu, address));
        return value;
    }

    public void MmioWrite(int vcpu, Gpa address, int size, ulong value)
    {
        if (_tracing)
            _trace.Access(vcpu, ExitKind.MmioWrite, address.Value, size, value, IsClaimed(vcpu, address));
        long start = Start();
        if (IsApicPage(vcpu, address, out LocalApic apic))
        {
            _apicPage.Count(vcpu, 1);
            apic.WriteMmio(address.Value & 0xFFF, size, value);
            Finish(start, vcpu, _apicPage, 1);
        }
        else
        {
            _memory.Write(vcpu, address.Value, size, value, out ExitCounters counters);
            Finish(start, vcpu, counters, 1);
        }
    }

    public bool ReadMsr(int vcpu, uint index, out ulong value)
    {
        long start = Start();
        int cell = MsrCell(index);
        _msrCounters.Count(vcpu, cell);
        bool known = IsLocalApic(index) ? _localApics[vcpu].ReadMsr(index, out value)
            : ParavirtualVcpu.Owns(index) ? _paravirtual[vcpu].TryRead(index, out value)
            : _msrs[vcpu].TryRead(index, out value);
        Finish(start, vcpu, _msrCounters, cell);
        if (_tracing)
            _trace.Access(vcpu, ExitKind.MsrRead, index, 8, value, known);
        return known;
    }

    public bool WriteMsr(int vcpu, uint index, ulong value)
    {
        long start = Start();
        int cell = MsrCell(index) + 1;
        _msrCounters.Count(vcpu, cell);
        bool known = IsLocalApic(index) ? _localApics[vcpu].WriteMsr(index, value)
            : ParavirtualVcpu.Owns(index) ? _paravirtual[vcpu].TryWrite(index, value)
            : _msrs[vcpu].TryWrite(index, value);
        Finish(start, vcpu, _msrCounters, cell);
        if (_tracing)
            _trace.Access(vcpu, ExitKind.MsrWrite, index, 8, value, known);
        return known;
    }

    public byte ReadCr8(int vcpu)
    {
        _taskPriority.Count(vcpu, 0);
        return _localApics[vcpu].ReadCr8();
    }

    public void WriteCr8(int vcpu, byte value)
    {
        _taskPriority.Count(vcpu, 1);
        _localApics[vcpu].WriteCr8(value);
    }

    public void Hypercall(int vcpu, Span<ulong> registers, bool is64)
    {
        long start = Start();
        _hypercallCounters.Count(vcpu, 0);
        _hypercalls.Call(vcpu, registers, is64);
        Finish(start, vcpu, _hypercallCounters, 0);
    }

    public void TimeStampOffsetChanged(int vcpu, ulong offset) => _paravirtual[vcpu].TimeStampOffsetChanged(offset);

    public IReadOnlyList<ExitStatistics> Report()
    {
        List<ExitStatistics> list = [];
        _ports.Report(list);
        _memory.Report(list);
        _apicPage.Report(list, ExitKind.MmioRead, 0, "local APIC page");
        _apicPage.Report(list, ExitKind.MmioWrite, 1, "local APIC page");
        _taskPriority.Report(list, ExitKind.TaskPriority, 0, "CR8 read");
        _taskPriority.Report(list, ExitKind.TaskPriority, 1, "CR8 write");
        _hypercallCounters.Report(list, ExitKind.Hypercall, 0, "hypercall");
        for (int i = 0; i <= OtherMsrs; i++)
        {
            string target = i == OtherMsrs ? "other" : string.Create(CultureInfo.InvariantCulture, $"x2APIC 0x{Msr.X2ApicFirst + i:x}");
            if (i == 0)
                target = "TSC deadline";
            _msrCounters.Report(list, ExitKind.MsrRead, i * 2, target);
            _msrCounters.Report(list, ExitKind.MsrWrite, (i * 2) + 1, target);
        }
        list.Sort((a, b) => b.Count.CompareTo(a.Count));
        return list;
    }

    private static bool IsLocalApic(uint index) => index is Msr.ApicBase or Msr.TscDeadline or (>= Msr.X2ApicFirst and <= Msr.X2ApicLast);

    // x2APIC has no register 0: its cell counts the deadline timer.
    private static int MsrCell(uint index) => 2 * (index switch
    {
        Msr.TscDeadline => 0,
        > Msr.X2ApicFirst and <= Msr.X2ApicLast => (int)(index - Msr.X2ApicFirst),
        _ => OtherMsrs,
    });

    /// <summary>Each vCPU sees its own local APIC at the address in its own IA32_APIC_BASE.</summary>
    private bool IsApicPage(int vcpu, Gpa address, out LocalApic apic)
    {
        apic = _localApics[vcpu];
        return (address.Value & ~0xFFFul) == apic.MmioBase.Value && apic.Enabled && !apic.IsX2Apic;
    }

    private bool IsClaimed(int vcpu, Gpa address) => IsApicPage(vcpu, address, out _) || _memory.Find(address.Value) is not null;

    private long Start() => _timing ? HostTime.Nanoseconds : 0;

    private void Finish(long start, int vcpu, ExitCounters counters, int cell)
    {
        if (_timing)
            counters.AddTime(vcpu, cell, HostTime.Nanoseconds - start);
    }
}
