using System.Buffers.Binary;

namespace Trapline.Network.Filter;

/// <summary>Questions of the domain name system and their answers (RFC 1035), as far as a filter asks. Nothing in a message makes it throw or loop.</summary>
internal static class DnsMessage
{
    public const int LongestName = 255;

    private const int Header = 12, AnswerBit = 0x80, RefusedCode = 5, LongestLabel = 63, MostRecords = 64;
    private const ushort TypeA = 1, TypeAaaa = 28, ClassInternet = 1;

    /// <summary>Reads a plain question for one name.</summary>
    /// <param name="name">Where the name goes, in lower case and without its final dot.</param>
    /// <param name="questionEnd">Where the question ends, from the message's start.</param>
    /// <returns>False if it is anything else.</returns>
    public static bool TryReadQuestion(ReadOnlySpan<byte> message, Span<char> name, out int nameLength, out int questionEnd) =>
        TryReadHead(message, isAnswer: false, name, out nameLength, out questionEnd)
        && BinaryPrimitives.ReadUInt16BigEndian(message[6..]) == 0 && BinaryPrimitives.ReadUInt16BigEndian(message[8..]) == 0
        && BinaryPrimitives.ReadUInt16BigEndian(message[10..]) <= 1; // the sender's extensions (RFC 6891)

    /// <summary>Reads an answer's question, and has each address in the answer taken.</summary>
    public static bool TryReadAnswer(ReadOnlySpan<byte> message, Span<char> name, out int nameLength, Span<DnsAddress> addresses, out int count)
    {
        count = 0;
        if (!TryReadHead(message, isAnswer: true, name, out nameLength, out int at))
            return false;
        int records = Math.Min(BinaryPrimitives.ReadUInt16BigEndian(message[6..]), (ushort)MostRecords);
        for (int i = 0; i < records && count < addresses.Length; i++)
        {
            if (!TrySkipName(message, ref at) || message.Length - at < 10)
                break;
            ReadOnlySpan<byte> record = message[at..];
            ushort type = BinaryPrimitives.ReadUInt16BigEndian(record), length = BinaryPrimitives.ReadUInt16BigEndian(record[8..]);
            uint seconds = BinaryPrimitives.ReadUInt32BigEndian(record[4..]);
            if (record.Length - 10 < length)
                break;
            bool isInternet = BinaryPrimitives.ReadUInt16BigEndian(record[2..]) == ClassInternet;
            if (isInternet && type == TypeA && length == 4)
                addresses[count++] = new DnsAddress(false, BinaryPrimitives.ReadUInt32BigEndian(record[10..]), seconds);
            else if (isInternet && type == TypeAaaa && length == 16)
                addresses[count++] = new DnsAddress(true, BinaryPrimitives.ReadUInt128BigEndian(record[10..]), seconds);
            at += 10 + length;
        }
        return true;
    }

    /// <summary>Makes the answer "refused" from a question that was read.</summary>
    /// <param name="answer">As long as the question up to its end.</param>
    public static void WriteRefusal(ReadOnlySpan<byte> question, Span<byte> answer)
    {
        question[..answer.Length].CopyTo(answer);
        answer[2] |= AnswerBit;
        answer[3] = 0x80 | RefusedCode; // recursion would be available
        answer[6..Header].Clear();
    }

    /// <summary>The header and one question: standard, not cut, of the Internet or any class.</summary>
    private static bool TryReadHead(ReadOnlySpan<byte> message, bool isAnswer, Span<char> name, out int nameLength, out int end)
    {
        nameLength = 0;
        end = Header;
        // QR as expected, OPCODE 0; one question.
        return message.Length >= Header && (message[2] & 0xF8) == (isAnswer ? AnswerBit : 0) && BinaryPrimitives.ReadUInt16BigEndian(message[4..]) == 1
            && TryReadName(message, ref end, name, out nameLength) && (end += 4) <= message.Length;
    }

    /// <summary>Labels without compression: a question has nothing before it to refer to.</summary>
    private static bool TryReadName(ReadOnlySpan<byte> message, ref int at, Span<char> name, out int length)
    {
        length = 0;
        while (at < message.Length)
        {
            int label = message[at++];
            if (label == 0)
                return true;
            if (label > LongestLabel || message.Length - at < label || length + label + 1 > Math.Min(name.Length, LongestName))
                return false;
            if (length > 0)
                name[length++] = '.';
            foreach (byte b in message.Slice(at, label))
            {
                // A dot within a label would make one name look like another.
                if (b is not ((>= (byte)'a' and <= (byte)'z') or (>= (byte)'A' and <= (byte)'Z') or (>= (byte)'0' and <= (byte)'9') or (byte)'-' or (byte)'_'))
                    return false;
                name[length++] = char.ToLowerInvariant((char)b);
            }
            at += label;
        }
        return false;
    }

    /// <summary>A name that may end in a reference (4.1.4), which is not followed.</summary>
    private static bool TrySkipName(ReadOnlySpan<byte> message, ref int at)
    {
        while (at < message.Length)
        {
            int label = message[at++];
            if (label == 0)
                return true;
            if (label >= 0xC0)
                return ++at <= message.Length;
            if (label > LongestLabel)
                return false;
            at += label;
        }
        return false;
    }
}

/// <summary>An address from an answer.</summary>
/// <param name="Address">As in <see cref="Packet"/>.</param>
/// <param name="Seconds">How long it may be kept.</param>
internal readonly record struct DnsAddress(bool IsIp6, UInt128 Address, uint Seconds);
