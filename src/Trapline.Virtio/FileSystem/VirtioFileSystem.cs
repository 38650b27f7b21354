using System.Buffers.Binary;
using System.Numerics;
using System.Text;
using Trapline.Core;
using Trapline.Host;
using Trapline.Memory;
using Trapline.Virtio.FileSystem.Fuse;
using Trapline.Virtio.Queues;

namespace Trapline.Virtio.FileSystem;

/// <summary>State of a file system device: what the guest knows and has open, by where it is in the shared folder.</summary>
[SavedState("virtio-fs", 1)]
public sealed record VirtioFileSystemState(SharedNodeState[] Nodes, SharedHandleState[] Handles);

/// <summary>The file system device (virtio 1.2, 5.11): a folder of the host for the guest, served in this process by several workers.</summary>
/// <remarks>
/// Without a DAX window and without notifications. A machine that goes on elsewhere finds its files by path: what was removed or replaced is ESTALE.
/// </remarks>
public sealed class VirtioFileSystem : VirtioDevice, ISavedDevice<VirtioFileSystemState>
{
    /// <summary>Longest tag, in bytes of UTF-8 (5.11.4).</summary>
    public const int MostTagBytes = 36;

    private const ushort HighPrioritySize = 128;

    /// <summary>Room for a request of the largest size: the driver takes four descriptors fewer for data (fs/fuse/virtio_fs.c).</summary>
    private const ushort RequestSize = 512;
    private const int ConfigLength = MostTagBytes + 8;

    /// <summary>A guest that remembers a file honestly spends more than this on it, in bytes: it knows no more files than it has room for.</summary>
    private const int GuestBytesForNode = 1024;
    private const int FewestNodes = 1 << 14, MostNodes = 1 << 22, MostHandles = 4096;

    /// <summary>The part of what this process may open that one share may have.</summary>
    private const ulong OpenFilesPart = 4;

    private readonly byte[] _config = new byte[ConfigLength];
    private readonly FuseExchange[] _exchanges;
    private readonly FuseServer _server;
    private readonly Lock _reopening = new();
    private SharedHandleState[]? _toReopen;

    /// <param name="name">Of the worker threads, for people.</param>
    /// <param name="tag">By which the guest mounts it: up to 36 bytes of UTF-8.</param>
    /// <param name="folder">Disposed with the device.</param>
    /// <param name="workers">How many requests are served at once.</param>
    public VirtioFileSystem(string name, GuestMemory memory, string tag, ConfinedFolder folder, int workers)
        : base(name, VirtioTypes.FileSystem, memory, [HighPrioritySize, RequestSize], workers)
    {
        Encoding.UTF8.GetBytes(tag, _config.AsSpan(0, MostTagBytes));
        BinaryPrimitives.WriteUInt32LittleEndian(_config.AsSpan(MostTagBytes), 1); // request queues
        _exchanges = [.. Enumerable.Range(0, workers).Select(_ => new FuseExchange(memory, RequestSize))];
        _server = new FuseServer(
            folder, (int)Math.Clamp(memory.BackingLength / GuestBytesForNode, FewestNodes, MostNodes), (int)Math.Min(MostHandles, ConfinedFolder.MostOpenFiles / OpenFilesPart));
    }

    protected override ulong DeviceFeatures => 0;

    /// <summary>How many files the guest knows, and has open.</summary>
    internal (int Nodes, int Handles) Held => _server.Held;

    public override void ReadConfig(int offset, Span<byte> destination)
    {
        for (int i = 0; i < destination.Length; i++)
            destination[i] = offset + i < ConfigLength ? _config[offset + i] : (byte)0;
    }

    protected override void OnReset()
    {
        _toReopen = null;
        _server.Clear();
    }

    protected override void Serve(int worker, ulong queues)
    {
        ReopenOnce();
        FuseExchange exchange = _exchanges[worker];
        for (; queues != 0; queues &= queues - 1)
        {
            VirtQueue queue = Queues[BitOperations.TrailingZeroCount(queues)];
            while (queue.TryPop(exchange.Chain))
            {
                if (_exchanges.Length > 1 && queue.HasMore)
                    Wake(1ul << queue.Index);
                if (_server.Serve(exchange) is not { } written)
                {
                    // Not even the head of a request: the driver does not keep to 5.11.6.
                    Break();
                    return;
                }
                queue.Push(exchange.Chain, written);
            }
        }
    }

    /// <summary>A machine that goes on has its files opened when it first asks for one: on a worker's time, not while the machine is made.</summary>
    private void ReopenOnce()
    {
        if (Volatile.Read(ref _toReopen) is null)
            return;
        lock (_reopening)
        {
            if (_toReopen is { } handles)
                _server.Reopen(handles);
            Volatile.Write(ref _toReopen, null);
        }
    }

    VirtioFileSystemState ISavedDevice<VirtioFileSystemState>.Save()
    {
        (SharedNodeState[] nodes, SharedHandleState[] handles) = _server.Save();
        return new VirtioFileSystemState(nodes, _toReopen ?? handles);
    }

    void ISavedDevice<VirtioFileSystemState>.Restore(VirtioFileSystemState state)
    {
        _server.Restore(state.Nodes, state.Handles);
        _toReopen = state.Handles;
    }

    public override void Dispose()
    {
        base.Dispose();
        _server.Dispose();
        GC.SuppressFinalize(this);
    }
}
