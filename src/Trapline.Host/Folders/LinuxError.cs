namespace Trapline.Host;

/// <summary>Error numbers of Linux (errno(3)), which a Linux guest and this host share.</summary>
public static class LinuxError
{
    public const int None = 0;
    public const int NotPermitted = 1;
    public const int NoEntry = 2;
    public const int Interrupted = 4;
    public const int InputOutput = 5;
    public const int BadDescriptor = 9;
    public const int TryAgain = 11;
    public const int AccessDenied = 13;
    public const int Exists = 17;
    public const int OtherDevice = 18;
    public const int NoFolder = 20;
    public const int IsFolder = 21;
    public const int InvalidArgument = 22;
    public const int TooManyOpen = 23;
    public const int ReadOnly = 30;
    public const int NameTooLong = 36;
    public const int NoSystemCall = 38;
    public const int TooManyLinks = 40;
    public const int NotSupported = 95;
    public const int Stale = 116;
}
