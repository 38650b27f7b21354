namespace Trapline.Cpu.Translator.Verify;

/// <summary>Interpreter and translator disagree: one of them is wrong, and the guest must not go on.</summary>
public sealed class EngineDivergenceException(string report) : Exception(report);
