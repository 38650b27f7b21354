using Trapline.Core;
using Trapline.Memory;

namespace Trapline.Cpu;

/// <summary>Guest memory that changes under code taken from it: by this vCPU, by others, by devices. See <see cref="CodePages"/>.</summary>
public sealed unsafe partial class SoftwareVcpu
{
    private readonly Lock _codeWritesLock = new();
    private readonly Queue<(ulong Offset, ulong Length)> _codeWrites = new();
    private readonly Queue<ulong> _revocations = new();
    private int _sharer = -1;
    private volatile bool _mapChanged;

    /// <summary>Pages to close that are not closed yet.</summary>
    private int _toRevoke;
    private int _inGuest;

    /// <summary>Before it first touches guest memory: an engine that was only made, to take another's place perhaps, has nothing to share.</summary>
    private void JoinMemory()
    {
        if (_sharer < 0)
            _sharer = _memory.Code.Join(this);
    }

    /// <summary>Pairs with <see cref="HasRevoked"/>: either the one that waits sees this vCPU running, or this sees what it asked for, before guest code.</summary>
    private void EnterGuest()
    {
        Volatile.Write(ref _inGuest, 1);
        Interlocked.MemoryBarrier();
    }

    private void LeaveGuest() => Volatile.Write(ref _inGuest, 0);

    public bool HasRevoked => Volatile.Read(ref _inGuest) == 0 || Volatile.Read(ref _toRevoke) == 0;

    public void RevokeStores(ulong page)
    {
        lock (_codeWritesLock)
        {
            _revocations.Enqueue(page);
            _toRevoke++;
        }
        Request(AttentionMemory);
    }

    public void ServeRevocations()
    {
        if (Volatile.Read(ref _toRevoke) == 0)
            return;
        lock (_codeWritesLock)
        {
            while (_revocations.TryDequeue(out ulong page))
                Mmu.WatchWrites(page);
            _toRevoke = 0;
        }
    }

    /// <summary>Call before reading code from the page.</summary>
    private void WatchPage(ulong offset)
    {
        ulong page = offset & ~0xFFFul;
        if (_memory.Code.Holds(_sharer, page))
            return;
        _memory.Code.Take(_sharer, page);
        Mmu.WatchWrites(page);
    }

    public void CodeWritten(Gpa address, ulong length)
    {
        if (!_memory.TryGetPage(address.Value, out ulong page, out _) || _sharer < 0 || !_memory.Code.Holds(_sharer, page))
            return;
        ulong offset = page + (address.Value & 0xFFF);
        if (Environment.CurrentManagedThreadId == _ownerThread)
        {
            InvalidateCode(offset, length);
            return;
        }
        lock (_codeWritesLock)
            _codeWrites.Enqueue((offset, length));
        Request(AttentionMemory);
    }

    public void MapChanged()
    {
        _mapChanged = true;
        Request(AttentionMemory);
    }

    private void ApplyMemoryChanges()
    {
        ServeRevocations();
        if (_mapChanged)
        {
            _mapChanged = false;
            Mmu.FlushAll();
            _blocks.Clear();
            _translator?.Flush();
        }
        lock (_codeWritesLock)
            while (_codeWrites.TryDequeue(out (ulong Offset, ulong Length) write))
                InvalidateCode(write.Offset, write.Length);
    }

    private void InvalidateCode(ulong offset, ulong length)
    {
        if (_blocks.Invalidate(offset, length, &Resync))
            State->CodeEpoch++;
        // Translations also depend on bytes that were never decoded into blocks: the far side of a jump that was always taken.
        _translator?.Invalidate(offset, length);
        ulong page = offset & ~0xFFFul;
        if (!_blocks.Holds(page) && _translator?.Holds(page) != true)
            _memory.Code.Release(_sharer, page);
    }
}
