using System.Buffers.Binary;

namespace Trapline.Agent;

/// <summary>One frame: a type, the number of the program that it is about, a length of two bytes and the payload.</summary>
public static class Frame
{
    public const int ProtocolVersion = 2;
    public const int HeaderSize = 4;
    public const int MaximumPayload = 4096;

    /// <summary>Programs that a guest runs at once.</summary>
    public const int MaximumPrograms = 16;

    /// <summary>Bytes of any kind that may be on the line to the guest without an acknowledgement.</summary>
    public const int LineWindow = 8192;

    /// <summary>Bytes of one stream that may be under way without an acknowledgement.</summary>
    public const int StreamWindow = 65536;

    /// <summary>A frame about program 0, or about none.</summary>
    public static byte[] Encode(FrameType type, params ReadOnlySpan<byte> payload)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(payload.Length, MaximumPayload);
        byte[] frame = new byte[HeaderSize + payload.Length];
        frame[0] = (byte)type;
        BinaryPrimitives.WriteUInt16LittleEndian(frame.AsSpan(2), (ushort)payload.Length);
        payload.CopyTo(frame.AsSpan(HeaderSize));
        return frame;
    }

    /// <summary>Makes a frame one about another program.</summary>
    public static byte[] About(int program, byte[] frame)
    {
        frame[1] = (byte)program;
        return frame;
    }

    /// <summary>A string of any length as parts and an end mark.</summary>
    public static IEnumerable<byte[]> EncodeString(FrameType part, FrameType end, ReadOnlyMemory<byte> value)
    {
        // Parts leave room on the line for the frames of others.
        const int PartSize = 1024;
        for (int start = 0; start < value.Length; start += PartSize)
            yield return Encode(part, value.Slice(start, Math.Min(PartSize, value.Length - start)).Span);
        yield return Encode(end);
    }

    public static byte[] EncodeStart(ProgramPlace place, WindowSize window)
    {
        byte[] payload = new byte[5];
        payload[0] = (byte)place;
        BinaryPrimitives.WriteUInt16LittleEndian(payload.AsSpan(1), window.Rows);
        BinaryPrimitives.WriteUInt16LittleEndian(payload.AsSpan(3), window.Columns);
        return Encode(FrameType.Start, payload);
    }

    public static byte[] EncodeWindow(WindowSize window)
    {
        byte[] payload = new byte[4];
        BinaryPrimitives.WriteUInt16LittleEndian(payload, window.Rows);
        BinaryPrimitives.WriteUInt16LittleEndian(payload.AsSpan(2), window.Columns);
        return Encode(FrameType.Window, payload);
    }

    /// <summary>Of four bytes.</summary>
    public static WindowSize DecodeWindow(ReadOnlySpan<byte> payload) =>
        new(BinaryPrimitives.ReadUInt16LittleEndian(payload), BinaryPrimitives.ReadUInt16LittleEndian(payload[2..]));

    /// <summary>The wall clock, UTC, and bytes that nobody else has.</summary>
    public static byte[] EncodeRefresh(DateTime now, ReadOnlySpan<byte> seed)
    {
        byte[] payload = new byte[12 + seed.Length];
        long ticks = now.Ticks - DateTime.UnixEpoch.Ticks;
        BinaryPrimitives.WriteInt64LittleEndian(payload, ticks / TimeSpan.TicksPerSecond);
        BinaryPrimitives.WriteInt32LittleEndian(payload.AsSpan(8), (int)(ticks % TimeSpan.TicksPerSecond) * 100);
        seed.CopyTo(payload.AsSpan(12));
        return Encode(FrameType.Refresh, payload);
    }

    public static byte[] EncodeOutputAcknowledgement(int stream, uint count)
    {
        byte[] payload = new byte[5];
        payload[0] = (byte)stream;
        BinaryPrimitives.WriteUInt32LittleEndian(payload.AsSpan(1), count);
        return Encode(FrameType.AcknowledgeOutput, payload);
    }
}

/// <summary>A terminal's size in characters; zero where there is no terminal.</summary>
public readonly record struct WindowSize(ushort Rows, ushort Columns);
