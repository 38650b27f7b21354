using System.Buffers.Binary;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Machine.Tests;

/// <summary>A guest that writes numbers to a disk, reads them back and sends each through a network card whose wire comes back to it.</summary>
/// <remarks>It sleeps in HLT while it waits, with every timer off: it ends only if each request is done and each interrupt arrives.</remarks>
internal static class VirtioGuest
{
    private const int DiskSlot = 1, CardSlot = 2;
    private const int Header = 0x50_0000, Data = 0x50_1000, Status = 0x50_2000, Frame = 0x50_3000, Received = 0x50_4000;
    /// <summary>Sectors of the disk; a power of two.</summary>
    public const int Sectors = 1024;

    private const int DataLength = 512, FrameLength = 64, NumberAt = 20;

    /// <summary>The exit status if everything was as it should be.</summary>
    public const int Good = 1;

    /// <summary>Says 'r' when the devices are up, and ends after so many rounds; at the first that goes wrong it says what ('d' disk, 'n' network).</summary>
    public static void Write(Assembler a, VirtioWay way, int rounds)
    {
        VirtioDriver disk = new(a, way, DiskSlot), card = new(a, way, CardSlot);
        Label start = a.CreateLabel(), round = a.CreateLabel(), diskFailed = a.CreateLabel(), cardFailed = a.CreateLabel();
        a.mov(esp, 0x30_F000);
        a.call(start);
        // The handler. It interrupted a HLT, and KVM's emulator has no IRET in protected mode.
        disk.Acknowledge();
        card.Acknowledge();
        a.mov(__dword_ptr[0xFEE000B0], 0);
        a.pop(eax);
        a.add(esp, 8);
        a.jmp(eax);
        a.Label(ref start);
        a.pop(ebp);
        foreach (int slot in (int[])[DiskSlot, CardSlot])
        {
            a.mov(eax, ebp);
            SmallGuest.GateToEax(a, VirtioDriver.Vector(slot));
        }
        a.mov(__dword_ptr[0xFEE000F0], 0x1FF);
        a.mov(__dword_ptr[0xFEE00350], 0x1_0000); // LINT0: no timer from the 8259 pair
        disk.Describe(0, 0, Header, 16, writable: false, next: true);
        disk.Describe(0, 2, Status, 1, writable: true, next: false);
        card.Describe(0, 0, Received, card.FrameHeader, writable: true, next: true);
        card.Describe(0, 1, Received + card.FrameHeader, 2048, writable: true, next: false);
        card.Describe(1, 0, Frame, card.FrameHeader, writable: false, next: true);
        card.Describe(1, 1, Frame + card.FrameHeader, FrameLength, writable: false, next: false);
        a.mov(__dword_ptr[Frame + card.FrameHeader], -1); // to everybody
        a.mov(__word_ptr[Frame + card.FrameHeader + 4], -1);
        disk.Start(queues: 1);
        card.Start(queues: 2);
        SmallGuest.Say(a, 'r');
        a.xor(ecx, ecx);
        a.Label(ref round);
        a.inc(ecx);

        a.mov(__dword_ptr[Data], ecx);
        Request(type: 1, writable: false);
        a.mov(__dword_ptr[Data], 0);
        Request(type: 0, writable: true);
        a.cmp(__dword_ptr[Data], ecx);
        a.jne(diskFailed);

        a.mov(__dword_ptr[Frame + card.FrameHeader + NumberAt], ecx);
        card.Submit(0);
        card.Submit(1);
        card.Wait(0);
        card.Wait(1);
        a.cmp(__dword_ptr[Received + card.FrameHeader + NumberAt], ecx);
        a.jne(cardFailed);

        a.cmp(ecx, rounds);
        a.jb(round);
        SmallGuest.Exit(a, 0);
        a.Label(ref diskFailed);
        SmallGuest.Say(a, 'd');
        SmallGuest.Exit(a, 1);
        a.Label(ref cardFailed);
        SmallGuest.Say(a, 'n');
        SmallGuest.Exit(a, 1);

        // Sector ECX, over and over.
        void Request(int type, bool writable)
        {
            disk.Describe(0, 1, Data, DataLength, writable, next: true);
            a.mov(__dword_ptr[Header], type);
            a.mov(eax, ecx);
            a.and(eax, Sectors - 1);
            a.mov(__dword_ptr[Header + 8], eax);
            a.mov(__byte_ptr[Status], -1);
            disk.Submit(0);
            disk.Wait(0);
            a.cmp(__byte_ptr[Status], 0);
            a.jne(diskFailed);
        }
    }

    /// <summary>The disk is as the guest leaves it after so many rounds.</summary>
    public static void Check(byte[] disk, int rounds)
    {
        for (int sector = 0; sector < Sectors; sector++)
        {
            int last = rounds - ((rounds - sector) & (Sectors - 1)); // the last round that wrote here
            Assert.Equal(Math.Max(last, 0), BinaryPrimitives.ReadInt32LittleEndian(disk.AsSpan(sector * DataLength)));
        }
    }
}
