using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Trapline.Host;

/// <summary>Events that several threads wait for together: each event set wakes one of them, which is told which one. Others may set them, the kernel too.</summary>
/// <remarks>
/// An eventfd for each event in one epoll instance, edge-triggered (epoll(7)), so that nobody reads the events and a set wakes one waiter. Sets of one
/// event that nobody has taken yet are one. Unsafe because the kernel writes to a local and reads one.
/// </remarks>
public sealed unsafe class EventSet : IDisposable
{
    private readonly SafeFileHandle _set;
    private readonly SafeFileHandle[] _events;

    /// <exception cref="Win32Exception">The host refused descriptors.</exception>
    public EventSet(int count)
    {
        _set = Own(Libc.EpollCreate(Libc.EventCloseOnExec));
        _events = new SafeFileHandle[count];
        try
        {
            for (int i = 0; i < count; i++)
            {
                _events[i] = Own(Libc.EventFd(0, Libc.EventCloseOnExec | Libc.EventNonBlocking));
                Libc.EpollEvent wanted = new() { Events = Libc.EpollIn | Libc.EpollEdge, Data = (ulong)i };
                if (Libc.EpollControl((int)_set.DangerousGetHandle(), Libc.EpollAdd, (int)_events[i].DangerousGetHandle(), &wanted) < 0)
                    throw new Win32Exception(Marshal.GetLastPInvokeError());
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>An event's descriptor; stays the set's.</summary>
    public SafeHandle this[int index] => _events[index];

    public void Set(int index)
    {
        ulong one = 1;
        Libc.WriteEvent((int)_events[index].DangerousGetHandle(), &one, sizeof(ulong));
    }

    /// <summary>Waits until an event is set that nobody else has taken, and says which.</summary>
    public int Wait()
    {
        Libc.EpollEvent got;
        while (Libc.EpollWait((int)_set.DangerousGetHandle(), &got, 1, -1) <= 0)
        {
        }
        return (int)got.Data;
    }

    /// <summary>Nobody waits any more.</summary>
    public void Dispose()
    {
        foreach (SafeFileHandle? one in _events)
            one?.Dispose();
        _set.Dispose();
    }

    private static SafeFileHandle Own(int descriptor) =>
        descriptor >= 0 ? new SafeFileHandle(descriptor, ownsHandle: true) : throw new Win32Exception(Marshal.GetLastPInvokeError());
}
