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

    /// <summary>The binder of an instruction. MOVSD and CMPSD name a string instruction and an SSE one each; their codes tell which.</summary>
    public static delegate*<ref OpBuilder, bool> For(Code code) => code switch
    {
        Code.Movsd_xmm_xmmm64 or Code.Movsd_xmmm64_xmm => Table[MovsdSlot],
        Code.Cmpsd_xmm_xmmm64_imm8 => Table[CmpsdSlot],
        _ => Table[(int)code.Mnemonic()],
    };

    private const int MovsdSlot = MnemonicCount - 1;
    private const int CmpsdSlot = MnemonicCount - 2;

    private static delegate*<ref OpBuilder, bool>[] Build()
    {
        var table = new delegate*<ref OpBuilder, bool>[MnemonicCount];
        Registry registry = new(table);
        VectorFamilies.Register(registry);
        Arithmetic.Register(registry);
        Unary.Register(registry);
        Shifts.Register(registry);
        MultiplyDivide.Register(registry);
        Bits.Register(registry);
        ByteSwap.Register(registry);
        Families.Convert.Register(registry);
        FlagControl.Register(registry);
        Move.Register(registry);
        Conditional.Register(registry);
        Atomics.Register(registry);
        Strings.Register(registry);
        Stack.Register(registry);
        Branch.Register(registry);
        Hints.Register(registry);
        Bcd.Register(registry);
        Bmi.Register(registry);
        Adx.Register(registry);
        Crc32.Register(registry);
        RandomNumbers.Register(registry);
        Legacy.Register(registry);
        SystemMove.Register(registry);
        FarTransfer.Register(registry);
        FlagsAndInterrupts.Register(registry);
        ControlRegisters.Register(registry);
        DescriptorTables.Register(registry);
        ModelSpecific.Register(registry);
        SystemCalls.Register(registry);
        PortIo.Register(registry);
        Hypercalls.Register(registry);
        X87.Register(registry);
        SseFloat.Register(registry);
        return table;
    }

    /// <summary>Where a family says what it binds.</summary>
    public readonly struct Registry(delegate*<ref OpBuilder, bool>[] table)
    {
        private readonly delegate*<ref OpBuilder, bool>[] _table = table;

        /// <summary>A binder fills the op and returns true; false means the form is undefined (#UD).</summary>
        public void Add(Mnemonic mnemonic, delegate*<ref OpBuilder, bool> bind) => _table[(int)mnemonic] = bind;

        /// <summary>The SSE instruction MOVSD (the string instruction is added by its mnemonic).</summary>
        public void AddScalarMovsd(delegate*<ref OpBuilder, bool> bind) => _table[MovsdSlot] = bind;

        /// <summary>The SSE instruction CMPSD (the string instruction is added by its mnemonic).</summary>
        public void AddScalarCmpsd(delegate*<ref OpBuilder, bool> bind) => _table[CmpsdSlot] = bind;
    }
}
