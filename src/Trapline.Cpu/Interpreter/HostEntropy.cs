using System.Security.Cryptography;

namespace Trapline.Cpu.Interpreter;

/// <summary>Random numbers of the host's cryptographic generator, fetched by the page so that RDRAND in a loop costs little. For one thread.</summary>
public sealed class HostEntropy
{
    private readonly byte[] _bytes = new byte[4096];
    private int _next = 4096;

    public ulong Next()
    {
        if (_next == _bytes.Length)
        {
            RandomNumberGenerator.Fill(_bytes);
            _next = 0;
        }
        ulong value = BitConverter.ToUInt64(_bytes, _next);
        Array.Clear(_bytes, _next, 8); // what the guest got stays nowhere else
        _next += 8;
        return value;
    }
}
