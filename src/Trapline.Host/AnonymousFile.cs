using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Trapline.Host;

/// <summary>Files in memory without a name (memfd), and what is stored in sparse files.</summary>
public static class AnonymousFile
{
    /// <summary>Makes a file of zeros, whose pages are committed when written. Each process closes it when it starts another program.</summary>
    /// <param name="name">For people who look into /proc.</param>
    /// <exception cref="Win32Exception">The host refused.</exception>
    public static SafeFileHandle Create(string name, ulong length)
    {
        int descriptor = Libc.MemfdCreate(name, Libc.MfdCloexec);
        if (descriptor < 0)
            throw new Win32Exception(Marshal.GetLastPInvokeError());
        SafeFileHandle file = new(descriptor, ownsHandle: true);
        if (Libc.Ftruncate(descriptor, (long)length) == 0)
            return file;
        int error = Marshal.GetLastPInvokeError();
        file.Dispose();
        throw new Win32Exception(error);
    }

    /// <summary>The parts of a range of a file that are stored; the rest are holes, which read as zero (lseek(2), SEEK_DATA).</summary>
    public static List<(ulong Start, ulong Length)> StoredRanges(SafeFileHandle file, ulong start, ulong length)
    {
        const int seekData = 3, seekHole = 4;
        List<(ulong, ulong)> ranges = [];
        bool held = false;
        try
        {
            file.DangerousAddRef(ref held);
            int descriptor = (int)file.DangerousGetHandle();
            ulong end = start + length;
            for (ulong at = start; at < end;)
            {
                long data = Libc.Lseek(descriptor, (long)at, seekData);
                if (data < 0 || (ulong)data >= end)
                    break;
                long hole = Libc.Lseek(descriptor, data, seekHole);
                ulong stop = hole < 0 ? end : Math.Min((ulong)hole, end);
                ranges.Add(((ulong)data, stop - (ulong)data));
                at = stop;
            }
            return ranges;
        }
        finally
        {
            if (held)
                file.DangerousRelease();
        }
    }
}
