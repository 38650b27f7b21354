using System.Globalization;
using Trapline.Kvm.Abi;

namespace Trapline.Kvm;

/// <summary>One register by KVM_GET_MSRS and KVM_SET_MSRS.</summary>
internal static unsafe class SingleMsr
{
    /// <exception cref="KvmException">The host has no such register.</exception>
    public static ulong Read(int vcpu, uint index)
    {
        Record record = new() { Count = 1, Entry = new KvmMsrEntry { Index = index } };
        Require(KvmCalls.Control(vcpu, KvmRequest.GetMsrs, &record), "KVM_GET_MSRS", index);
        return record.Entry.Value;
    }

    /// <exception cref="KvmException">The host has no such register, or refuses the value.</exception>
    public static void Write(int vcpu, uint index, ulong value)
    {
        Record record = new() { Count = 1, Entry = new KvmMsrEntry { Index = index, Value = value } };
        Require(KvmCalls.Control(vcpu, KvmRequest.SetMsrs, &record), "KVM_SET_MSRS", index);
    }

    private static void Require(int done, string call, uint index)
    {
        if (done != 1)
            throw new KvmException(string.Create(CultureInfo.InvariantCulture, $"{call} (0x{index:x})"), done < 0 ? System.Runtime.InteropServices.Marshal.GetLastPInvokeError() : 0);
    }

    private struct Record
    {
        public ulong Count;
        public KvmMsrEntry Entry;
    }
}
