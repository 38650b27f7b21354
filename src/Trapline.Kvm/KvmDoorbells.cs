using Trapline.Core;
using Trapline.Kvm.Abi;

namespace Trapline.Kvm;

/// <summary>Doorbells that the kernel answers by an eventfd, without an exit to us (KVM_IOEVENTFD, api.rst 4.59).</summary>
/// <remarks>One that it does not take, for want of room, goes on to exit. Unsafe for the ioctl's argument alone.</remarks>
internal sealed unsafe class KvmDoorbells(int vm, bool anyLength) : IDoorbellKeeper
{
    public void Add(bool isPort, ulong address, in Doorbell bell) => Control(isPort, address, bell, 0);

    public void Remove(bool isPort, ulong address, in Doorbell bell) => Control(isPort, address, bell, KvmIoEvent.Deassign);

    private void Control(bool isPort, ulong address, in Doorbell bell, uint flags)
    {
        if (bell.Size == 0 && !anyLength)
            return;
        bool held = false;
        try
        {
            bell.Event.DangerousAddRef(ref held);
            KvmIoEvent argument = new()
            {
                Match = bell.Value ?? 0,
                Address = address,
                Length = (uint)bell.Size,
                Descriptor = (int)bell.Event.DangerousGetHandle(),
                Flags = flags | (isPort ? KvmIoEvent.IsPort : 0) | (bell.Value is null ? 0 : KvmIoEvent.HasMatch),
            };
            KvmCalls.Control(vm, KvmRequest.IoEvent, &argument);
        }
        finally
        {
            if (held)
                bell.Event.DangerousRelease();
        }
    }
}
