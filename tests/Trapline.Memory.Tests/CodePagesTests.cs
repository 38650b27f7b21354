using Trapline.Core;

namespace Trapline.Memory.Tests;

/// <summary>Code taken from a page by one engine is never stale through another's stores.</summary>
public sealed class CodePagesTests : IDisposable
{
    private const ulong Page = 0x3000;

    private readonly GuestMemory _memory = GuestMemory.Flat(1 << 20);

    public void Dispose() => _memory.Dispose();

    private bool IsMarked
    {
        get
        {
            bool announced = false;
            Observer observer = new() { Written = (_, _) => announced = true };
            _memory.AddObserver(observer);
            _memory.TryWrite(new Gpa(Page), new byte[1]);
            _memory.RemoveObserver(observer);
            return announced;
        }
    }

    [Fact]
    public void APageIsCodeAsLongAsAnyoneHoldsSome()
    {
        int a = _memory.Code.Join(new Sharer()), b = _memory.Code.Join(new Sharer());
        Assert.False(IsMarked);
        _memory.Code.Take(a, Page);
        _memory.Code.Take(b, Page);
        Assert.True(IsMarked);
        _memory.Code.Release(a, Page);
        Assert.False(_memory.Code.Holds(a, Page));
        Assert.True(IsMarked);
        _memory.Code.Release(b, Page);
        Assert.False(IsMarked);
    }

    [Fact]
    public void WhoeverMayStoreUnheardIsAskedFirst()
    {
        Sharer taker = new(), storer = new(), bystander = new();
        int a = _memory.Code.Join(taker), b = _memory.Code.Join(storer);
        _memory.Code.Join(bystander);
        _memory.Code.NoteStorer(b, Page);
        _memory.Code.NoteStorer(a, Page);
        _memory.Code.Take(a, Page);
        Assert.Equal([Page], storer.Asked);
        Assert.Empty(bystander.Asked);
        Assert.Empty(taker.Asked);
    }

    [Fact]
    public async Task TakingWaitsUntilStoresAreRevokedAndServesOthersMeanwhile()
    {
        Sharer taker = new(), storer = new() { HasRevoked = false };
        int a = _memory.Code.Join(taker), b = _memory.Code.Join(storer);
        _memory.Code.NoteStorer(b, Page);
        Task taking = Task.Run(() => _memory.Code.Take(a, Page));
        SpinWait.SpinUntil(() => Volatile.Read(ref taker.Served) > 3, TimeSpan.FromSeconds(30));
        Assert.False(taking.IsCompleted);
        storer.HasRevoked = true;
        await taking.WaitAsync(TimeSpan.FromSeconds(30));
    }

    [Fact]
    public void OneAloneNeedsTheMarkOnly()
    {
        _memory.Code.ExpectOne();
        Sharer first = new();
        int a = _memory.Code.Join(first);
        _memory.Code.NoteStorer(a, Page);
        _memory.Code.Take(a, Page);
        Assert.True(IsMarked);
        Assert.True(_memory.Code.Holds(a, Page));
        _memory.Code.Leave(a);
        int b = _memory.Code.Join(new Sharer());
        Assert.True(IsMarked); // it hears of stores, and finds that it holds nothing
        _memory.Code.Release(b, Page);
        Assert.False(IsMarked);
        Assert.Empty(first.Asked);
    }

    [Fact]
    public void WhoLeavesHoldsNothing()
    {
        Sharer other = new();
        int a = _memory.Code.Join(new Sharer()), b = _memory.Code.Join(other);
        _memory.Code.Take(a, Page);
        _memory.Code.NoteStorer(a, Page);
        _memory.Code.Leave(a);
        Assert.False(IsMarked);
        Sharer successor = new();
        Assert.Equal(a, _memory.Code.Join(successor));
        Assert.False(_memory.Code.Holds(a, Page));
        _memory.Code.Take(b, Page);
        Assert.Empty(successor.Asked);
    }

    private sealed class Sharer : ICodeSharer
    {
        public int Served;

        public List<ulong> Asked { get; } = [];

        public bool HasRevoked { get; set; } = true;

        public void RevokeStores(ulong page) => Asked.Add(page);

        public void ServeRevocations() => Interlocked.Increment(ref Served);
    }

    private sealed class Observer : IMemoryObserver
    {
        public required Action<Gpa, ulong> Written { get; init; }

        public void CodeWritten(Gpa address, ulong length) => Written(address, length);

        public void MapChanged()
        {
        }
    }
}
