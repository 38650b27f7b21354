namespace Trapline.Cpu.Translator.Passes;

/// <summary>Checks that one access makes for others, too.</summary>
[Flags]
public enum Hoisting
{
    None = 0,
    /// <summary><see cref="StackWindows"/>.</summary>
    Windows = 1,
    /// <summary><see cref="SameBaseGroups"/>.</summary>
    Groups = 2,
    All = Windows | Groups,
}
