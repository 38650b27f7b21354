using Iced.Intel;
using Trapline.Cpu.Interpreter.Families;

namespace Trapline.Cpu.Interpreter;

/// <summary>Which family binds which mnemonic: the explicit list of everything the interpreter can do.</summary>
public static unsafe class Binders
{
    /// <summary>More than Iced has mnemonics; checked by a test.</summary>
    public const int MnemonicCount = 2048;

    private static readonly delegate*<ref OpBuilder, bool>[] Table = Build();

    /// <summary>The binder of a mnemonic, or null: the instruction is undefined here.</summary>
    public static delegate*<ref OpBuilder, bool> For(Mnemonic mnemonic) => Table[(int)mnemonic];

    private static delegate*<ref OpBuilder, bool>[] Build()
    {
        var table = new delegate*<ref OpBuilder, bool>[MnemonicCount];
        Registry registry = new(table);
        Arithmetic.Register(registry);
        Move.Register(registry);
        Stack.Register(registry);
        Branch.Register(registry);
        return table;
    }

    /// <summary>Where a family says what it binds.</summary>
    public readonly struct Registry(delegate*<ref OpBuilder, bool>[] table)
    {
        private readonly delegate*<ref OpBuilder, bool>[] _table = table;

        /// <summary>A binder fills the op and returns true; false means the form is undefined (#UD).</summary>
        public void Add(Mnemonic mnemonic, delegate*<ref OpBuilder, bool> bind) => _table[(int)mnemonic] = bind;
    }
}
