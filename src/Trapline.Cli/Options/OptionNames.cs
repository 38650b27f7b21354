using Trapline.Core;

namespace Trapline.Cli.Options;

/// <summary>The machine complains about its parts; the user knows them by the options that gave them.</summary>
internal static class OptionNames
{
    private static readonly (string Start, string Option)[] Parts =
    [
        ("kernel '", "--kernel '"),
        ("initrd '", "--initrd '"),
        ("the kernel command line", "--append: the kernel command line"),
        ("memory of", "--memory: memory of"),
        ("the host refused", "--memory: the host refused"),
        ("engine '", "--engine: engine '"),
        ("disk '", "--disk: disk '"),
        ("share '", "--share '"),
        ("vsock '", "--vsock: vsock '"),
        ("network '", "--net '"),
        ("devices:", "--disk: devices:"),
        ("code of", "--hex: code of"),
        ("32-bit code at", "--code32: 32-bit code at"),
        ("unknown CPU", "--cpu: unknown CPU"),
        ("unknown feature", "--cpu: unknown feature"),
        ("CPU feature", "--cpu: CPU feature"),
        ("a CPU without", "--cpu: a CPU without"),
    ];

    /// <summary>The same complaint, beginning with the option.</summary>
    public static BadInputException Named(BadInputException complaint)
    {
        (string Start, string Option) none = ("", "");
        (string start, string option) = Parts.FirstOrDefault(p => complaint.Message.StartsWith(p.Start, StringComparison.Ordinal), none);
        return new BadInputException(option + complaint.Message[start.Length..]);
    }
}
