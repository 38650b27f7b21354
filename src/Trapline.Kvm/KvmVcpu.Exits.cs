using System.Buffers.Binary;
using System.Globalization;
using Trapline.Core;
using Trapline.Kvm.Abi;
using Trapline.X86;

namespace Trapline.Kvm;

/// <summary>What to do when the guest leaves the kernel (api.rst 5). Allocates nothing unless the vCPU cannot go on.</summary>
public sealed unsafe partial class KvmVcpu
{
    private const ulong TaskPriorityOffset = 0x80;
    private const uint TaskPriorityMsr = Msr.X2ApicFirst + 8;

    private void HandleExit()
    {
        switch (_run->Reason)
        {
            case KvmExit.Io:
                _instructionExits++;
                PortAccess();
                break;
            case KvmExit.Mmio:
                _instructionExits++;
                MemoryAccess();
                break;
            case KvmExit.Halt:
                _instructionExits++;
                _activity = VcpuActivity.Halted;
                WakeByNmi();
                // What became pending while the guest ran does not ask again.
                if (_interrupts.Pending)
                    Interlocked.Or(ref _attention, AttentionInterrupt);
                break;
            case KvmExit.ReadMsr:
                _instructionExits++;
                ReadForeignMsr();
                break;
            case KvmExit.WriteMsr:
                _instructionExits++;
                WriteForeignMsr();
                break;
            case KvmExit.InterruptWindowOpen or KvmExit.SetTaskPriority or KvmExit.Interrupted:
                break; // the loop looks for interrupts anyway
            case KvmExit.IoApicEndOfInterrupt:
                _apic?.EndOfInterrupt(_run->EndedVector);
                break;
            case KvmExit.Shutdown:
                _activity = VcpuActivity.ShutDown;
                break;
            default:
                Fail(Describe());
                break;
        }
    }

    private void PortAccess()
    {
        _incomplete = true;
        KvmIo* io = &_run->Io;
        byte* data = (byte*)_run + io->DataOffset;
        ushort port = io->Port;
        int size = io->Size;
        for (uint left = io->Count; left > 0; left--, data += size)
        {
            switch (io->IsOut != 0, size)
            {
                case (true, 1): _io.PortOut(Index, port, 1, *data); break;
                case (true, 2): _io.PortOut(Index, port, 2, *(ushort*)data); break;
                case (true, _): _io.PortOut(Index, port, 4, *(uint*)data); break;
                case (false, 1): *data = (byte)_io.PortIn(Index, port, 1); break;
                case (false, 2): *(ushort*)data = (ushort)_io.PortIn(Index, port, 2); break;
                case (false, _): *(uint*)data = _io.PortIn(Index, port, 4); break;
            }
        }
    }

    /// <summary>Up to eight bytes; odd lengths, from accesses that cross a page, go in powers of two.</summary>
    private void MemoryAccess()
    {
        _incomplete = true;
        KvmMmio* access = &_run->Mmio;
        Span<byte> bytes = new(&access->Data, (int)Math.Min(access->Length, 8));
        ulong address = access->Address;
        for (int at = 0; at < bytes.Length;)
        {
            int size = (bytes.Length - at) switch { >= 8 => 8, >= 4 => 4, >= 2 => 2, _ => 1 };
            Span<byte> part = bytes.Slice(at, size);
            Gpa where = new(address + (ulong)at);
            if (access->IsWrite != 0)
                _io.MmioWrite(Index, where, size, Get(part));
            else
                Put(part, _io.MmioRead(Index, where, size));
            at += size;
        }
        if (access->IsWrite != 0 && (address & 0xFFF) == TaskPriorityOffset)
            GiveTaskPriority();
    }

    private static ulong Get(Span<byte> part) => part.Length switch
    {
        1 => part[0],
        2 => BinaryPrimitives.ReadUInt16LittleEndian(part),
        4 => BinaryPrimitives.ReadUInt32LittleEndian(part),
        _ => BinaryPrimitives.ReadUInt64LittleEndian(part),
    };

    private static void Put(Span<byte> part, ulong value)
    {
        switch (part.Length)
        {
            case 1: part[0] = (byte)value; break;
            case 2: BinaryPrimitives.WriteUInt16LittleEndian(part, (ushort)value); break;
            case 4: BinaryPrimitives.WriteUInt32LittleEndian(part, (uint)value); break;
            default: BinaryPrimitives.WriteUInt64LittleEndian(part, value); break;
        }
    }

    private void ReadForeignMsr()
    {
        _incomplete = true;
        KvmMsrAccess* access = &_run->Msr;
        bool known = _io.ReadMsr(Index, access->Index, out ulong value);
        if (known && access->Index == Msr.TscDeadline && value != 0)
            value += _tsc.Reading - _io.TimeStampCounter; // the machine's timer compares with its own counter
        access->Data = value;
        access->Fault = (byte)(known ? 0 : 1);
    }

    private void WriteForeignMsr()
    {
        _incomplete = true;
        KvmMsrAccess* access = &_run->Msr;
        uint index = access->Index;
        ulong value = access->Data;
        if (index == Msr.TscDeadline && value != 0)
            value = Math.Max(value - (_tsc.Reading - _io.TimeStampCounter), 1);
        bool known = _io.WriteMsr(Index, index, value);
        access->Fault = (byte)(known ? 0 : 1);
        if (known && index == TaskPriorityMsr)
            GiveTaskPriority();
        if (known && index == Msr.ApicBase)
            GiveApicBase(value);
    }

    /// <summary>Why the vCPU cannot go on, in one line.</summary>
    private string Describe()
    {
        CultureInfo invariant = CultureInfo.InvariantCulture;
        switch (_run->Reason)
        {
            case KvmExit.FailedEntry:
                return string.Create(invariant, $"the processor refused to enter the guest (hardware reason 0x{_run->HardwareReason:x})");
            case KvmExit.InternalError when _run->Error.Kind == KvmInternalError.Emulation:
                KvmInternalError* error = &_run->Error;
                bool hasBytes = error->Count > 1 && (error->Flags & KvmInternalError.HasInstruction) != 0;
                string bytes = hasBytes ? Convert.ToHexString(new ReadOnlySpan<byte>(error->Instruction, Math.Min(error->InstructionLength, (byte)15))) : "unknown";
                return $"KVM cannot emulate an instruction (bytes {bytes.ToLowerInvariant()})";
            case KvmExit.InternalError:
                return string.Create(invariant, $"KVM failed internally (kind {_run->Error.Kind}, data 0x{_run->Error.Data[0]:x} 0x{_run->Error.Data[1]:x})");
            case KvmExit.SystemEvent:
                return string.Create(invariant, $"KVM reports system event {_run->SystemEventType}");
            case KvmExit.Unknown:
                return string.Create(invariant, $"the processor left the guest for an unknown reason (0x{_run->HardwareReason:x})");
            default:
                return string.Create(invariant, $"KVM left the guest for a reason that is not handled ({_run->Reason})");
        }
    }
}
