namespace Trapline.Cpu.Interpreter.Families;

/// <summary>MOV to and from segment, control and debug registers.</summary>
public static unsafe class SystemMove
{
    public static bool Bind(ref OpBuilder b) => false;
}
