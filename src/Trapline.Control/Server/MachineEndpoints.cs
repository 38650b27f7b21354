using System.Text.Json.Serialization.Metadata;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Trapline.Control.Api;

namespace Trapline.Control.Server;

/// <summary>What is answered where.</summary>
internal static class MachineEndpoints
{
    public static void Map(IEndpointRouteBuilder routes, IMachineCatalog machines)
    {
        Get(Routes.Machines, context => JsonBody.WriteAsync(context, List(machines), ApiJson.Default.MachineList));
        Get(Routes.Machine, context => JsonBody.WriteAsync(context, Named(context).Describe(), ApiJson.Default.MachineInfo));
        Get(Routes.Statistics, async context =>
            await JsonBody.WriteAsync(context, await Named(context).ReportAsync(context.RequestAborted).ConfigureAwait(false), ApiJson.Default.MachineReport).ConfigureAwait(false));
        PostSwitch(Routes.Pause, (machine, cancellation) => machine.PauseAsync(cancellation));
        PostSwitch(Routes.Resume, (machine, cancellation) => machine.ResumeAsync(cancellation));
        PostSwitch(Routes.Reset, (machine, cancellation) => machine.ResetAsync(cancellation));
        PostSwitch(Routes.PowerButton, (machine, cancellation) => machine.PressPowerButtonAsync(cancellation));
        PostSwitch(Routes.Nmi, (machine, cancellation) => machine.SendNmiAsync(cancellation));
        PostBody(Routes.Engine, ApiJson.Default.EngineRequest, ApiJson.Default.EngineSwitched, (machine, request, cancellation) => machine.SwitchEngineAsync(request, cancellation));
        PostBody(Routes.Balloon, ApiJson.Default.BalloonRequest, ApiJson.Default.BalloonReport, (machine, request, cancellation) => machine.SetBalloonAsync(request, cancellation));
        PostBody(Routes.Save, ApiJson.Default.SaveRequest, ApiJson.Default.MachineSaved, (machine, request, cancellation) => machine.SaveAsync(request, cancellation));
        Post(Routes.Fork, async context =>
        {
            ControlledMachine machine = Named(context);
            ForkRequest request = await JsonBody.ReadAsync(context, ApiJson.Default.ForkRequest).ConfigureAwait(false) ?? new ForkRequest();
            await JsonBody.WriteAsync(context, await machine.ForkAsync(request, context.RequestAborted).ConfigureAwait(false), ApiJson.Default.MachineList).ConfigureAwait(false);
        });
        Post(Routes.Stop, async context =>
        {
            ControlledMachine machine = Named(context);
            StopRequest request = await JsonBody.ReadAsync(context, ApiJson.Default.StopRequest).ConfigureAwait(false) ?? new StopRequest();
            if (request.PatienceSeconds is not (>= 0 and <= StopRequest.LongestPatience))
                throw new RefusedException(400, $"patienceSeconds {request.PatienceSeconds} is out of range: use 0 to {StopRequest.LongestPatience}");
            await JsonBody.WriteAsync(context, await machine.StopAsync(request, context.RequestAborted).ConfigureAwait(false), ApiJson.Default.MachineEnded).ConfigureAwait(false);
        });
        Post(Routes.Execute, context => ExecEndpoint.AnswerAsync(context, Named(context)));

        void Get(string route, RequestDelegate answer) => routes.MapMethods(route, [HttpMethods.Get], answer);

        void Post(string route, RequestDelegate answer) => routes.MapMethods(route, [HttpMethods.Post], answer);

        void PostSwitch(string route, Func<ControlledMachine, CancellationToken, Task<MachineInfo>> change) => Post(route, async context =>
            await JsonBody.WriteAsync(context, await change(Named(context), context.RequestAborted).ConfigureAwait(false), ApiJson.Default.MachineInfo).ConfigureAwait(false));

        void PostBody<TRequest, TAnswer>(
            string route, JsonTypeInfo<TRequest> requestType, JsonTypeInfo<TAnswer> answerType,
            Func<ControlledMachine, TRequest, CancellationToken, Task<TAnswer>> change) where TRequest : class => Post(route, async context =>
        {
            ControlledMachine machine = Named(context);
            TRequest request = await JsonBody.ReadAsync(context, requestType).ConfigureAwait(false) ?? throw new RefusedException(400, "the request has no body");
            await JsonBody.WriteAsync(context, await change(machine, request, context.RequestAborted).ConfigureAwait(false), answerType).ConfigureAwait(false);
        });

        ControlledMachine Named(HttpContext context)
        {
            string name = (string)context.Request.RouteValues["name"]!;
            return machines.Find(name) ?? throw RefusedException.Unknown(name);
        }
    }

    private static MachineList List(IMachineCatalog machines) => new() { Machines = [.. machines.Machines.Select(m => m.Describe())] };
}
