namespace Trapline.Control.Api;

/// <summary>The paths of the API, version 1. Described for others in docs/openapi.yaml.</summary>
public static class Routes
{
    public const string Machines = "/v1/machines";
    public const string Machine = Machines + "/{name}";
    public const string Statistics = Machine + "/stats";
    public const string Pause = Machine + "/pause";
    public const string Resume = Machine + "/resume";
    public const string Reset = Machine + "/reset";
    public const string Stop = Machine + "/stop";
    public const string PowerButton = Machine + "/power-button";
    public const string Nmi = Machine + "/nmi";
    public const string Engine = Machine + "/engine";
    public const string Balloon = Machine + "/balloon";
    public const string Save = Machine + "/save";
    public const string Fork = Machine + "/fork";
    public const string Execute = Machine + "/exec";

    /// <summary>A route with the name of a machine filled in.</summary>
    public static string For(string route, string name) => route.Replace("{name}", Uri.EscapeDataString(name), StringComparison.Ordinal);
}
