namespace Trapline.Cpu.Interpreter.Families;

/// <summary>PUSH and POP of segment registers.</summary>
public static unsafe class SegmentStack
{
    public static bool BindPush(ref OpBuilder b) => false;
    public static bool BindPop(ref OpBuilder b) => false;
}
