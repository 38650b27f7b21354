using Trapline.Core;
using Trapline.Cpu.Interpreter;
using Trapline.Cpu.Mmu;
using Trapline.Cpu.Translator;
using Trapline.Cpu.Translator.Runtime;
using Trapline.Memory;
using Trapline.X86;

namespace Trapline.Cpu;

/// <summary>
/// One vCPU in software: the reference engine. Decodes basic blocks once, runs them by calling each op's handler, and leaves the chain of blocks
/// only when <see cref="CpuState.Attention"/> asks for it.
/// </summary>
/// <remarks>
/// Unsafe because the state, the blocks and guest RAM are native memory, so that emitted code can share them. Guest addresses become host pointers
/// only in <see cref="VcpuMmu"/> and the slow path of memory, whole page by whole page.
/// One file per concern: memory, faults, modes, events (interrupt delivery), state (import and export); instruction families are static classes.
/// </remarks>
public sealed unsafe partial class SoftwareVcpu : IVcpuEngine, IMemoryObserver, ICodeSharer
{
    /// <summary>Reasons to leave the block chain, bits of <see cref="CpuState.Attention"/>.</summary>
    private const int AttentionKick = 1;
    private const int AttentionInterrupt = 2;
    private const int AttentionNmi = 4;
    private const int AttentionInit = 8;
    private const int AttentionStartUp = 16;
    private const int AttentionMemory = 32;
    /// <summary>Run one instruction at a time: traps, shadows, code breakpoints.</summary>
    private const int AttentionStep = 64;
    /// <summary>INVLPG and the like happened in a block that must not go on with stale blocks.</summary>
    private const int AttentionFlush = 128;
    /// <summary>The guest has executed many PAUSEs.</summary>
    private const int AttentionSpin = 512;
    /// <summary>An imported state came with an event to deliver first.</summary>
    private const int AttentionInjected = 256;

    private readonly LowLayout _low;
    private readonly GuestMemory _memory;
    private readonly CpuModel _model;
    private readonly IIoSeam _io;
    private readonly IInterruptSource _interrupts;
    private readonly BlockCache _blocks;
    private readonly Decoder _decoder;
    private int _startUpVector;
    private int _ownerThread;
    private long _pageFaults;
    private long _exceptions;
    private long _interruptsDelivered;
    private VcpuActivity _activity;
    private InjectedEvent? _injected;

    public SoftwareVcpu(int index, GuestMemory memory, CpuModel model, IIoSeam io, IInterruptSource interrupts)
    {
        Index = index;
        _memory = memory;
        _model = model;
        _io = io;
        _interrupts = interrupts;
        _low = new LowLayout();
        State = _low.State;
        Mmu = new VcpuMmu(State, memory, model, _low.Tlb, _low.Frame);
        _blocks = new BlockCache();
        _decoder = new Decoder(model);
        memory.AddObserver(this);
        _low.Frame->PauseBudget = PausesOfASpin;
        Reset();
    }

    /// <summary>Which vCPU of its machine this is.</summary>
    public int Index { get; }

    /// <summary>The native state block. Touch it only on the vCPU's own thread or while the vCPU is stopped.</summary>
    public CpuState* State { get; }

    public VcpuMmu Mmu { get; }

    internal CpuModel Model => _model;
    internal IIoSeam Io => _io;

    internal HostEntropy Entropy { get; } = new();

    /// <summary>Held while an atomic operation wider than the host's runs: the same lock for every vCPU of a machine.</summary>
    internal Lock WideAtomics => _memory.WideAtomics;

    public EngineCounters Counters => new(
        State->Instructions, Mmu.SecondLevelHits, Mmu.PageWalks, _pageFaults, _exceptions, _interruptsDelivered, _blocks.Decoded, _blocks.Invalidated);

    public IReadOnlyList<EngineDetail> Details => _lockstep != null
        ? [new("lockstep", "blocks compared", _lockstep.Compared), new("lockstep", "blocks that read undefined flags", _lockstep.Incomparable)]
        : _translator?.Describe() ?? [];

    public EngineTimes? Times => _translator?.Times;

    public void Kick() => Request(AttentionKick);

    public void InterruptPending() => Request(AttentionInterrupt);

    public void NonMaskableInterrupt() => Request(AttentionNmi);

    public void Init() => Request(AttentionInit);

    public void StartUp(byte vector)
    {
        Volatile.Write(ref _startUpVector, vector);
        Request(AttentionStartUp);
    }

    public bool HasWork => (Volatile.Read(ref State->Attention) & ~(AttentionStep | AttentionSpin)) != 0;

    /// <summary>Makes the loop look at traps and shadows before the next instruction.</summary>
    internal void RequestStep() => Request(AttentionStep);

    /// <summary>IF, TPR or a shadow changed so that a held-off interrupt may be deliverable now. The handler must end its block.</summary>
    internal void InterruptsMayBeDeliverable()
    {
        State->HeldInterrupt = 0;
        if (_interrupts.Pending)
            Request(AttentionInterrupt);
        if (State->NmiPending != 0)
            Request(AttentionNmi);
    }

    /// <summary>True while something wants the vCPU to leave its block: long-running instructions (REP) look here between iterations.</summary>
    internal bool AttentionWanted => Volatile.Read(ref State->Attention) != 0;

    /// <summary>PAUSEs after which a loop is taken to be waiting: some microseconds.</summary>
    private const uint PausesOfASpin = 256;

    public bool ReportsSpinning { get; set; }

    /// <summary>PAUSE. Translated code counts in the same place.</summary>
    internal void Pause()
    {
        if (--_low.Frame->PauseBudget != 0 && _low.Frame->PauseBudget <= PausesOfASpin)
            return;
        _low.Frame->PauseBudget = PausesOfASpin;
        if (ReportsSpinning)
            Request(AttentionSpin);
    }

    public StopReason Run()
    {
        JoinMemory();
        _ownerThread = Environment.CurrentManagedThreadId;
        EnterGuest();
        try
        {
            return RunUntilStopped();
        }
        finally
        {
            LeaveGuest();
        }
    }

    private StopReason RunUntilStopped()
    {
        CpuState* s = State;
        for (; ; )
        {
            TellTime();
            if (Volatile.Read(ref s->Attention) != 0 && Attend() is { } reason)
                return reason;
            if (_activity != VcpuActivity.Running)
            {
                if (_activity == VcpuActivity.ShutDown)
                    return StopReason.TripleFault;
                if ((Volatile.Read(ref s->Attention) & ~AttentionStep) != 0)
                    continue;
                return _activity == VcpuActivity.Halted ? StopReason.Halted : StopReason.WaitingForStartUp;
            }
            if ((Volatile.Read(ref s->Attention) & AttentionStep) != 0)
                StepOne();
            else
                RunChain();
        }
    }

    /// <summary>Runs blocks until one faults, halts, or attention is wanted.</summary>
    private void RunChain()
    {
        CpuState* s = State;
        Block* block = FindBlock(s->Mode);
        while (block != null)
        {
            if (_lockstep != null && CanCompare(block))
            {
                block = RunCompared(block);
                continue;
            }
            if (block->Native != 0)
            {
                block = RunTranslated(block);
                continue;
            }
            if (_translator != null && _lockstep == null)
            {
                if (block->Rip == _translator.WatchedLoop && _translator.IsWatched(block))
                {
                    block = WatchLoop(block);
                    continue;
                }
                if (++block->Heat == TranslatorOptions.WarmAfter && TryTranslate(block))
                    continue;
            }
            if (block->LinkEpoch0 != s->CodeEpoch)
                _blocks.Prefetch(block->Rip + (ulong)block->Bytes, s->Mode); // what follows will be looked for
            Op* op = Block.Ops(block);
            int status;
            while ((status = op->Run(this, s, op)) == Status.Next)
                op++;
            long done = op - Block.Ops(block) + 1;
            s->Instructions += Math.Min(done, block->Count);
            if (status != Status.BlockEnd)
            {
                Leave(op, status);
                return;
            }
            if (Volatile.Read(ref s->Attention) != 0)
                return;
            // Chain: the two last successors are trusted while no translation has changed.
            ulong rip = s->Rip;
            ulong epoch = s->CodeEpoch;
            if (block->LinkEpoch0 == epoch && block->Link0->Rip == rip && block->Link0->Mode == s->Mode)
            {
                block = block->Link0;
                continue;
            }
            if (block->LinkEpoch1 == epoch && block->Link1->Rip == rip && block->Link1->Mode == s->Mode)
            {
                block = block->Link1;
                continue;
            }
            Block* next = FindBlock(s->Mode);
            if (next != null && s->CodeEpoch == epoch)
            {
                block->Link1 = block->Link0;
                block->LinkEpoch1 = block->LinkEpoch0;
                block->Link0 = next;
                block->LinkEpoch0 = epoch;
            }
            block = next;
        }
    }

    /// <summary>Runs exactly one instruction, with the traps that may follow it.</summary>
    private void StepOne()
    {
        CpuState* s = State;
        bool trap = (s->RFlags & Rflags.Tf) != 0;
        byte stiShadow = s->StiShadow, movSsShadow = s->MovSsShadow;
        _trapSuppressed = false;
        if (_codeBreakpoints && (s->RFlags & Rflags.Rf) == 0 && movSsShadow == 0 && MatchCodeBreakpoints())
        {
            Deliver();
            return;
        }
        Block* block = FindBlock(s->Mode | BlockMode.Single);
        if (block == null)
            return;
        // RF lasts for one instruction; handlers that load RFLAGS set it anew (SDM Vol. 3, 17.3.1.1).
        ulong before = s->RFlags & Rflags.Rf;
        s->RFlags &= ~Rflags.Rf;
        Op* op = Block.Ops(block);
        ulong start = s->Rip;
        int status = op->Run(this, s, op);
        if (status == Status.Next)
        {
            op++;
            status = op->Run(this, s, op); // the block's ending sets RIP
            op--;
        }
        if (status == Status.Fault)
        {
            s->RFlags |= before;
            Leave(op, status);
            return;
        }
        s->Instructions++;
        bool repeats = s->Rip == start && (op->Flags & (OpFlags.Rep | OpFlags.Repne)) != 0;
        if (repeats)
            s->RFlags |= before;
        if (status == Status.Halt)
            Leave(op, status);
        if (stiShadow != 0)
            s->StiShadow = 0;
        if (movSsShadow != 0)
            s->MovSsShadow = 0;
        // A load of SS swallows its own single-step trap; the next instruction's comes as usual.
        bool loadsSs = movSsShadow == 0 && s->MovSsShadow != 0;
        if (trap && !_trapSuppressed && !loadsSs)
            s->PendingDebug |= DebugStatus.SingleStep;
        _trapSuppressed = false;
        bool stay = (s->RFlags & (Rflags.Tf | Rflags.Rf)) != 0 || _codeBreakpoints || _dataBreakpoints || s->PendingDebug != 0 || (s->StiShadow | s->MovSsShadow) != 0;
        if (!stay)
            Interlocked.And(ref s->Attention, ~AttentionStep);
        InterruptsMayBeDeliverable();
    }

    /// <summary>Runs one instruction and leaves a fault undelivered, for oracles that compare instruction by instruction.</summary>
    /// <returns>False: the instruction faulted, state is as before it, and <paramref name="fault"/> says how.</returns>
    internal bool Step(out PendingFault fault)
    {
        CpuState* s = State;
        JoinMemory();
        _ownerThread = Environment.CurrentManagedThreadId;
        _holdFaults = true;
        fault = default;
        Block* block = FindBlock(s->Mode | BlockMode.Single);
        int status = Status.Fault;
        if (block != null)
        {
            Op* op = Block.Ops(block);
            status = op->Run(this, s, op);
            if (status == Status.Next)
                status = op[1].Run(this, s, op + 1);
        }
        _holdFaults = false;
        if (status == Status.Fault)
            fault = _fault;
        return status != Status.Fault;
    }

    private bool _holdFaults;

    /// <summary>Set by instructions that deliver an event themselves (INT n, task switch): TF's trap of the old context is gone.</summary>
    internal bool _trapSuppressed;

    /// <summary>After a block that did not end by itself: deliver the fault, or go to sleep.</summary>
    private void Leave(Op* op, int status)
    {
        CpuState* s = State;
        if (status == Status.Halt)
        {
            _activity = VcpuActivity.Halted;
            return;
        }
        if (op != null)
        {
            s->Rip = op->Rip;
            s->Instructions--;
        }
        Deliver();
    }

    /// <summary>Delivers the pending fault; double and triple faults by SDM Vol. 3, table 6-5.</summary>
    internal void Deliver()
    {
        if (_holdFaults)
            return;
        _exceptions++;
        _trace?.Exception(Index, _fault.Vector, _fault.ErrorCode, State->Rip, _fault.Address);
        while (DeliverFault(_fault) == Status.Fault)
        {
            // _fault is now the nested one; _delivering what was being delivered.
            if (_delivering == Vector.DoubleFault)
            {
                _activity = VcpuActivity.ShutDown;
                return;
            }
            Escalate();
        }
    }

    /// <summary>The pending fault came up while another was being delivered: some pairs make a double fault.</summary>
    private void Escalate()
    {
        bool escalates = (IsContributory(_delivering) && IsContributory(_fault.Vector))
            || (_delivering == Vector.PageFault && (IsContributory(_fault.Vector) || _fault.Vector == Vector.PageFault));
        if (escalates)
            FaultCode(Vector.DoubleFault, 0);
    }

    private byte _delivering;

    private static bool IsContributory(byte vector) =>
        vector is Vector.DivideError or Vector.InvalidTss or Vector.SegmentNotPresent or Vector.StackFault or Vector.GeneralProtection;

    /// <summary>Looks at everything that asked for attention, by priority (SDM Vol. 3, 6.9). A stop reason leaves <see cref="Run"/>.</summary>
    private StopReason? Attend()
    {
        CpuState* s = State;
        int bits = Volatile.Read(ref s->Attention);
        if ((bits & AttentionMemory) != 0)
        {
            Interlocked.And(ref s->Attention, ~AttentionMemory);
            ApplyMemoryChanges();
        }
        if ((bits & AttentionFlush) != 0)
            Interlocked.And(ref s->Attention, ~AttentionFlush);
        if ((bits & AttentionKick) != 0)
        {
            Interlocked.And(ref s->Attention, ~AttentionKick);
            return StopReason.Kicked;
        }
        if ((bits & AttentionSpin) != 0)
        {
            Interlocked.And(ref s->Attention, ~AttentionSpin);
            return StopReason.Spinning;
        }
        if ((bits & AttentionInit) != 0)
        {
            Interlocked.And(ref s->Attention, ~AttentionInit);
            ResetByInit();
        }
        if ((bits & AttentionStartUp) != 0)
        {
            Interlocked.And(ref s->Attention, ~AttentionStartUp);
            if (_activity == VcpuActivity.WaitingForStartUp)
                BeginAt((byte)_startUpVector);
        }
        if (_activity is VcpuActivity.WaitingForStartUp or VcpuActivity.ShutDown)
            return null;
        if ((bits & AttentionInjected) != 0)
        {
            Interlocked.And(ref s->Attention, ~AttentionInjected);
            if (_injected is { } injected)
            {
                _injected = null;
                _activity = VcpuActivity.Running;
                DeliverInjected(injected);
                return null;
            }
        }
        if (s->PendingDebug != 0 && s->MovSsShadow == 0)
        {
            _activity = VcpuActivity.Running;
            DeliverPendingDebug();
            return null;
        }
        if ((bits & AttentionNmi) != 0)
        {
            Interlocked.And(ref s->Attention, ~AttentionNmi);
            s->NmiPending = 1;
            s->HeldInterrupt = 1;
        }
        if (s->NmiPending != 0 && s->NmiBlocked == 0 && s->MovSsShadow == 0 && s->StiShadow == 0)
        {
            s->NmiPending = 0;
            _activity = VcpuActivity.Running;
            DeliverNmi();
            return null;
        }
        if ((bits & AttentionInterrupt) != 0)
        {
            // Cleared first, looked at second: a request that comes in between is seen again.
            Interlocked.And(ref s->Attention, ~AttentionInterrupt);
            bool open = (s->RFlags & Rflags.If) != 0 && s->StiShadow == 0 && s->MovSsShadow == 0;
            s->HeldInterrupt = open ? 0 : 1;
            if (open && _interrupts.Pending)
            {
                int vector = _interrupts.Acknowledge();
                if (vector >= 0)
                {
                    _activity = VcpuActivity.Running;
                    _interruptsDelivered++;
                    DeliverExternal((byte)vector);
                    if (_interrupts.Pending)
                        Request(AttentionInterrupt);
                }
            }
        }
        return null;
    }

    /// <summary>The block at CS:RIP, decoded if need be. Null: fetching faulted and the fault was delivered.</summary>
    private Block* FindBlock(uint mode)
    {
        CpuState* s = State;
        Block* block = _blocks.FindJump(s->Rip, mode, s->CodeEpoch);
        return block != null ? block : FindBlockSlow(mode);
    }

    private Block* FindBlockSlow(uint mode)
    {
        CpuState* s = State;
        if (_blocks.IsFull)
        {
            _blocks.Clear();
            _translator?.BlocksForgotten();
            s->CodeEpoch++;
        }
        if (!FetchTranslate(0, out ulong linear, out ulong offset))
        {
            Deliver();
            return null;
        }
        Block* block = _blocks.FindFirst(offset, s->Rip, mode);
        if (block != null && block->SecondOffset != Block.NoPage)
        {
            // Its last instruction reaches into the next page, whose translation may have changed.
            if (!FetchTranslate(4096 - (linear & 0xFFF), out _, out ulong second))
            {
                Deliver();
                return null;
            }
            block = _blocks.Find(offset, second, s->Rip, mode);
        }
        if (block == null)
        {
            block = DecodeBlock(mode, linear, offset);
            if (block == null)
            {
                Deliver();
                return null;
            }
        }
        _blocks.AddJump(s->Rip, mode, s->CodeEpoch, block);
        return block;
    }

    /// <summary>Translates the address of code byte RIP + <paramref name="delta"/>. False: a fault is pending.</summary>
    private bool FetchTranslate(ulong delta, out ulong linear, out ulong offset)
    {
        CpuState* s = State;
        offset = 0;
        ulong rip = s->Rip + delta;
        if (s->Is64 != 0)
        {
            linear = rip;
            if (!Canonical(linear, 1))
                return FaultCode(Vector.GeneralProtection, 0) == 0;
        }
        else
        {
            linear = (uint)(s->Cs.Base + rip);
            if (rip > s->Cs.Limit)
                return FaultCode(Vector.GeneralProtection, 0) == 0;
        }
        Access access = Access.Fetch | UserBit;
        if (!Mmu.Translate(linear, access, out ulong gpa, out uint errorCode))
            return PageFault(linear, errorCode) == 0;
        if (_memory.TryGetPage(gpa, out ulong page, out _))
        {
            offset = page + (gpa & 0xFFF);
            return true;
        }
        // Code in MMIO or a hole: nothing sensible runs there. All ones decode to an undefined instruction.
        return Fault(Vector.InvalidOpcode) == 0;
    }

    /// <summary>Decodes from the current RIP to the end of the basic block or page. Null: a fault is pending.</summary>
    private Block* DecodeBlock(uint mode, ulong linear, ulong offset)
    {
        CpuState* s = State;
        Block* block = _blocks.Begin();
        int inPage = 4096 - (int)(linear & 0xFFF);
        int limit = inPage;
        // Instructions beyond the code segment's limit fault one by one (SDM Vol. 3, 5.3).
        if (s->Is64 == 0)
            limit = (int)Math.Min((ulong)inPage, (ulong)s->Cs.Limit - s->Rip + 1);
        WatchPage(offset);
        byte* code = _memory.BackingBase + offset;
        int maxOps = (mode & BlockMode.Single) != 0 ? 1 : BlockCache.MaxOps;
        *block = new Block { Rip = s->Rip, Mode = mode, Offset = offset, SecondOffset = Block.NoPage };
        Block* twin = _blocks.FindTwin(offset, mode);
        if (twin != null)
        {
            BlockTwins.Copy(twin, block);
            Keep(block);
            return block;
        }
        int count = _decoder.DecodeRun(code, limit, s->Rip, mode, maxOps, Block.Ops(block), out int bytes, out bool needsMore);
        if (count == 0 && needsMore)
        {
            // The first instruction runs past the page or the segment: gather its bytes from both sides.
            byte* gathered = stackalloc byte[16];
            int have = Math.Min(limit, 15);
            Buffer.MemoryCopy(code, gathered, 16, have);
            bool faulted = false;
            if (limit == inPage && inPage < 15)
            {
                ulong room = s->Is64 != 0 ? 15 : (ulong)s->Cs.Limit - s->Rip + 1;
                if (room > (ulong)inPage && FetchTranslate((ulong)inPage, out _, out ulong second))
                {
                    block->SecondOffset = second;
                    WatchPage(second);
                    int more = (int)Math.Min(15ul - (ulong)inPage, room - (ulong)inPage);
                    Buffer.MemoryCopy(_memory.BackingBase + second, gathered + inPage, 16 - inPage, more);
                    have = inPage + more;
                }
                else if (room > (ulong)inPage)
                {
                    faulted = true;
                }
            }
            if (!faulted)
                count = _decoder.DecodeRun(gathered, have, s->Rip, mode, 1, Block.Ops(block), out bytes, out needsMore);
            if (count == 0)
            {
                // Longer than 15 bytes, past the limit, or the second page faulted (that fault is pending already).
                if (!faulted)
                    FaultCode(Vector.GeneralProtection, 0);
                return null;
            }
        }
        block->Count = count;
        block->Bytes = Math.Min(bytes, inPage);
        block->SecondBytes = bytes - block->Bytes;
        if (block->SecondBytes == 0)
            block->SecondOffset = Block.NoPage;
        Keep(block);
        return block;
    }

    private void Keep(Block* block)
    {
        _blocks.Commit(block, block->Count + 1);
        if (_translator != null && (block->Mode & BlockMode.Single) == 0)
            _translator.Attach(block);
    }

    /// <summary>What the ops of a dropped block do: leave at once, so that the loop finds the new bytes.</summary>
    private static int Resync(SoftwareVcpu cpu, CpuState* s, Op* op)
    {
        s->Rip = op->Rip;
        s->Instructions--;
        return Status.BlockEnd;
    }

    private void Request(int bit)
    {
        Interlocked.Or(ref State->Attention, bit);
        Volatile.Write(ref State->Calm, 0);
    }

    public void Dispose()
    {
        _memory.RemoveObserver(this);
        if (_sharer >= 0)
            _memory.Code.Leave(_sharer);
        Mmu.Dispose();
        _blocks.Dispose();
        _translator?.Dispose();
        _lockstep?.Dispose();
        _low.Dispose();
    }
}
