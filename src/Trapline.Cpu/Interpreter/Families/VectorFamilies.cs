namespace Trapline.Cpu.Interpreter.Families;

/// <summary>The families of MMX, SSE, AVX and extended state, except floating-point arithmetic.</summary>
internal static class VectorFamilies
{
    public static void Register(Binders.Registry r)
    {
        VectorMoves.Register(r);
        VectorPartMoves.Register(r);
        VectorLogic.Register(r);
        VectorInteger.Register(r);
        VectorProducts.Register(r);
        VectorShifts.Register(r);
        VectorShuffles.Register(r);
        VectorBlends.Register(r);
        VectorPermutes.Register(r);
        VectorCrypto.Register(r);
        StringCompare.Register(r);
        MaskedMoves.Register(r);
        Gathers.Register(r);
        ExtendedState.Register(r);
        XsaveFamily.Register(r);
    }
}
