using System.Collections.Concurrent;
using Trapline.Core;

namespace Trapline.Network.Tests;

/// <summary>The device's end of a back end: keeps the frames, and has as much room as a test wants.</summary>
internal sealed class CollectingSink : INetworkSink
{
    private readonly BlockingCollection<(byte[] Frame, FrameOffload Offload)> _frames = [];

    public FrameOffloads Accepts { get; set; } = FrameOffloads.ChecksumIsValid;

    public bool IsFull { get; set; }

    public bool LinkIsUp { get; private set; } = true;

    public int Refused { get; private set; }

    public int Count => _frames.Count;

    public event Action? RoomAvailable;

    public bool Receive(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        if (IsFull)
        {
            Refused++;
            return false;
        }
        _frames.Add((frame.ToArray(), offload));
        return true;
    }

    public void SetLink(bool isUp) => LinkIsUp = isUp;

    public void MakeRoom()
    {
        IsFull = false;
        RoomAvailable?.Invoke();
    }

    /// <summary>The next frame; null if none comes.</summary>
    public byte[]? Take(int milliseconds = 5_000) => _frames.TryTake(out var next, milliseconds) ? next.Frame : null;

    public (byte[] Frame, FrameOffload Offload) TakeWhole() => _frames.TryTake(out var next, 5_000) ? next : throw new Xunit.Sdk.XunitException("no frame came");

    /// <summary>The next frame that is so; the others are lost.</summary>
    public byte[]? Take(Func<byte[], bool> wanted)
    {
        while (Take() is { } frame)
        {
            if (wanted(frame))
                return frame;
        }
        return null;
    }
}
