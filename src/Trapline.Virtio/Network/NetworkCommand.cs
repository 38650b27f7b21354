namespace Trapline.Virtio.Network;

/// <summary>What a driver asks for in the control queue: class and command (virtio 1.2, 5.1.6.5).</summary>
internal enum NetworkCommand : ushort
{
    Promiscuous = 0x0000,
    AllMulticast = 0x0001,
    AllUnicast = 0x0002,
    NoMulticast = 0x0003,
    NoUnicast = 0x0004,
    NoBroadcast = 0x0005,
    SetTable = 0x0100,
    SetAddress = 0x0101,
    AddVlan = 0x0200,
    DeleteVlan = 0x0201,
    AnnouncementSent = 0x0300,
    SetPairs = 0x0400,
    SetOffloads = 0x0500,
}
