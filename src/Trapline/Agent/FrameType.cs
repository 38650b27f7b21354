namespace Trapline.Agent;

/// <summary>What a frame between host and guest agent carries. The protocol is described in guests/init/protocol.h.</summary>
public enum FrameType : byte
{
    Argument = 0x01,
    ArgumentEnd = 0x02,
    Variable = 0x03,
    VariableEnd = 0x04,
    Start = 0x05,
    Stdin = 0x06,
    StdinEnd = 0x07,
    Window = 0x08,
    Signal = 0x09,
    AcknowledgeOutput = 0x0A,
    CloseOutput = 0x0B,
    PowerOff = 0x0C,
    Refresh = 0x0D,
    ChangeAddress = 0x0E,

    Hello = 0x81,
    Stdout = 0x82,
    Stderr = 0x83,
    Exit = 0x84,
    AcknowledgeLine = 0x85,
    AcknowledgeStdin = 0x86,
    StdinClosed = 0x87,
}
