using System.Text;

namespace Trapline.Agent;

/// <summary>The variables that a program finds in the default guest.</summary>
internal static class GuestEnvironment
{
    private static readonly string[] Defaults =
    [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME=/root",
        "USER=root",
        "LOGNAME=root",
        "SHELL=/bin/sh",
        "LANG=C.UTF-8",
        "TERM=linux",
        @"PS1=\u@\h:\w\$ ",
    ];

    /// <summary>The given variables, and the defaults that they do not name.</summary>
    public static IEnumerable<byte[]> Complete(IReadOnlyList<string> variables)
    {
        IEnumerable<string> missing = Defaults.Where(d => !variables.Any(v => Name(v) == Name(d)));
        return variables.Concat(missing).Select(Encoding.UTF8.GetBytes);
    }

    private static string Name(string variable) => variable.Split('=', 2)[0];
}
