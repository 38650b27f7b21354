namespace Trapline.Cpu.Interpreter.Families;

/// <summary>Far JMP, CALL, RET through segments, gates and task-state segments.</summary>
public static unsafe class FarTransfer
{
    public static bool BindJump(ref OpBuilder b) => false;
    public static bool BindCall(ref OpBuilder b) => false;
}
