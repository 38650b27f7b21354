using Trapline.Agent;

namespace Trapline.Control.Server;

/// <summary>Sends frames to a client, one after the other, from any thread.</summary>
internal sealed class ExecWriter(Stream connection, CancellationToken aborted)
{
    private readonly SemaphoreSlim _turn = new(1);

    /// <summary>Waits until the client has room. For threads of programs' streams only: they are there to wait.</summary>
    /// <exception cref="IOException">The client is gone.</exception>
    public void Send(FrameType type, ReadOnlySpan<byte> data)
    {
        int parts = Math.Max(1, (data.Length + Frame.MaximumPayload - 1) / Frame.MaximumPayload);
        List<byte> frames = new(data.Length + (parts * Frame.HeaderSize));
        for (int part = 0; part < parts; part++)
        {
            frames.AddRange(Frame.Encode(type, data[..Math.Min(data.Length, Frame.MaximumPayload)]));
            data = data[Math.Min(data.Length, Frame.MaximumPayload)..];
        }
        SendAsync(frames.ToArray()).GetAwaiter().GetResult();
    }

    /// <exception cref="IOException">The client is gone.</exception>
    public async Task SendAsync(ReadOnlyMemory<byte> frames)
    {
        try
        {
            await _turn.WaitAsync(aborted).ConfigureAwait(false);
            try
            {
                await connection.WriteAsync(frames, aborted).ConfigureAwait(false);
                await connection.FlushAsync(aborted).ConfigureAwait(false);
            }
            finally
            {
                _turn.Release();
            }
        }
        catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException or InvalidOperationException)
        {
            throw new IOException("the client is gone", e);
        }
    }
}
