using System.Buffers.Binary;
using Trapline.Core;
using Trapline.Memory;

namespace Trapline.Machine;

/// <summary>What KVM's clock is in guest memory (Linux, Documentation/virt/kvm/x86/msr.rst, MSR_KVM_WALL_CLOCK_NEW and MSR_KVM_SYSTEM_TIME_NEW).</summary>
/// <remarks>
/// A vCPU's system time is the machine's time by way of its time-stamp counter. Both stand while the machine is paused and go on where they were saved, and
/// their rate never changes. So a page says "at counter value <c>offset</c> it was zero" once and for all: all vCPUs' pages agree to the nanosecond, and
/// nothing has to be written again unless a guest moves its counter.
/// </remarks>
internal static class PvClock
{
    private const int SystemTimeLength = 32;
    private const int WallClockLength = 12;
    private const int TscStableFlag = 1; // PVCLOCK_TSC_STABLE_BIT
    private const long NanosecondsPerSecond = 1_000_000_000;

    private static readonly (uint Multiplier, sbyte Shift) Scale = ScaleOf((ulong)MachineConstants.TscHertz);

    /// <summary>Counter ticks to nanoseconds, as guests compute it: shift left (or right, if negative), multiply, drop 32 bits.</summary>
    internal static (uint Multiplier, sbyte Shift) ScaleOf(ulong hertz)
    {
        // The multiplier's highest bit is set: no precision is lost.
        sbyte shift = 0;
        while (Multiplier(shift) > uint.MaxValue)
            shift++;
        while (Multiplier(shift) < 1u << 31)
            shift--;
        return ((uint)Multiplier(shift), shift);

        UInt128 Multiplier(int shift) => ((UInt128)NanosecondsPerSecond << (32 + 32 - shift)) / ((UInt128)hertz << 32);
    }

    /// <summary>Writes struct pvclock_vcpu_time_info. One that would cross a page, or is not in RAM, is left out, as KVM does.</summary>
    /// <param name="offset">The vCPU's counter when the machine's was zero.</param>
    /// <param name="stable">Times of different vCPUs may be compared.</param>
    public static void WriteSystemTime(GuestMemory memory, ulong address, ulong offset, bool stable)
    {
        Span<byte> time = stackalloc byte[SystemTimeLength];
        if ((address & (GuestMemory.PageSize - 1)) > GuestMemory.PageSize - SystemTimeLength || !memory.TryRead(new Gpa(address), time))
            return;
        uint version = (BinaryPrimitives.ReadUInt32LittleEndian(time) + 1) | 1;
        time.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(time, version);
        BinaryPrimitives.WriteUInt64LittleEndian(time[8..], offset); // tsc_timestamp
        BinaryPrimitives.WriteUInt64LittleEndian(time[16..], 0); // system_time
        BinaryPrimitives.WriteUInt32LittleEndian(time[24..], Scale.Multiplier);
        time[28] = (byte)Scale.Shift;
        time[29] = (byte)(stable ? TscStableFlag : 0);
        WriteVersioned(memory, new Gpa(address), time, versionAt: 0, version);
    }

    /// <summary>Writes struct pvclock_wall_clock: the time of day at which system time was zero.</summary>
    public static void WriteWallClock(GuestMemory memory, ulong address, DateTime utc, long systemTime)
    {
        Span<byte> clock = stackalloc byte[WallClockLength];
        if (address == 0 || !memory.TryRead(new Gpa(address), clock))
            return;
        uint version = (BinaryPrimitives.ReadUInt32LittleEndian(clock) + 1) | 1;
        long boot = ((utc - DateTime.UnixEpoch).Ticks * 100) - systemTime;
        BinaryPrimitives.WriteUInt32LittleEndian(clock, version);
        BinaryPrimitives.WriteUInt32LittleEndian(clock[4..], (uint)(boot / NanosecondsPerSecond));
        BinaryPrimitives.WriteUInt32LittleEndian(clock[8..], (uint)(boot % NanosecondsPerSecond));
        WriteVersioned(memory, new Gpa(address), clock, versionAt: 0, version);
    }

    /// <summary>Readers on other vCPUs look for the same even version before and after what they read. x86 keeps the order of stores.</summary>
    /// <param name="content">Everything, its version odd.</param>
    public static bool WriteVersioned(GuestMemory memory, Gpa address, Span<byte> content, int versionAt, uint version)
    {
        Span<byte> word = content.Slice(versionAt, sizeof(uint));
        if (!memory.TryWrite(address + (ulong)versionAt, word))
            return false;
        Interlocked.MemoryBarrier();
        bool written = memory.TryWrite(address, content);
        Interlocked.MemoryBarrier();
        BinaryPrimitives.WriteUInt32LittleEndian(word, version + 1);
        return written && memory.TryWrite(address + (ulong)versionAt, word);
    }
}
