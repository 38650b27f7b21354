using System.ComponentModel;

namespace Trapline.Kvm;

/// <summary>The host's KVM refused something that it must grant: a fault of ours or of the host, never of the guest.</summary>
/// <param name="call">The ioctl's name.</param>
/// <param name="error">errno.</param>
public sealed class KvmException(string call, int error) : Exception($"{call}: {new Win32Exception(error).Message}")
{
    /// <summary>errno of the failed call.</summary>
    public int Error => error;
}
