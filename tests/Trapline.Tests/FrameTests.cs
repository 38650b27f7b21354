using Trapline.Agent;

namespace Trapline.Tests;

public class FrameTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(7)]
    [InlineData(10000)]
    public void FramesSurviveAnySplit(int piece)
    {
        byte[] big = new byte[Frame.MaximumPayload];
        Random.Shared.NextBytes(big);
        byte[] line = [.. Frame.Encode(FrameType.Hello, 1), .. Frame.Encode(FrameType.Stdout, big), .. Frame.Encode(FrameType.StdinClosed)];
        List<(FrameType Type, byte[] Payload)> frames = [];
        FrameDecoder decoder = new();
        for (int i = 0; i < line.Length; i += piece)
            decoder.Decode(line.AsSpan(i, Math.Min(piece, line.Length - i)), (type, _, payload) => frames.Add((type, payload.ToArray())));
        Assert.Equal([FrameType.Hello, FrameType.Stdout, FrameType.StdinClosed], frames.Select(f => f.Type));
        Assert.Equal(big, frames[1].Payload);
        Assert.Empty(frames[2].Payload);
    }

    [Fact]
    public void AnyBytesAreTaken()
    {
        Random random = new(7);
        FrameDecoder decoder = new();
        byte[] junk = new byte[1000];
        for (int i = 0; i < 2000; i++)
        {
            random.NextBytes(junk);
            decoder.Decode(junk.AsSpan(0, random.Next(junk.Length)), (_, _, payload) => Assert.True(payload.Length <= ushort.MaxValue));
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(1024)]
    [InlineData(100_000)]
    public void StringsTravelInPartsAndComeBackWhole(int size)
    {
        byte[] value = new byte[size];
        Random.Shared.NextBytes(value);
        List<byte> received = [];
        int ends = 0;
        FrameDecoder decoder = new();
        foreach (byte[] frame in Frame.EncodeString(FrameType.Argument, FrameType.ArgumentEnd, value))
        {
            decoder.Decode(frame, (type, _, payload) =>
            {
                received.AddRange(payload);
                ends += type == FrameType.ArgumentEnd ? 1 : 0;
            });
        }
        Assert.Equal(value, received);
        Assert.Equal(1, ends);
    }
}
