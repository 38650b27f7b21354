using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Trapline.Control.Api;

namespace Trapline.Control.Server;

/// <summary>POST …/exec: turns the connection into one that carries a program's streams.</summary>
internal static class ExecEndpoint
{
    public static async Task AnswerAsync(HttpContext context, ControlledMachine machine)
    {
        if (context.Features.Get<IHttpUpgradeFeature>() is not { IsUpgradableRequest: true } upgrade || context.Request.Headers.Upgrade != ExecProtocol.Name)
        {
            context.Response.Headers.Upgrade = ExecProtocol.Name;
            throw new RefusedException(StatusCodes.Status426UpgradeRequired, $"exec needs the headers 'Connection: Upgrade' and 'Upgrade: {ExecProtocol.Name}'");
        }
        using ExecSeat seat = await machine.TakeSeatAsync(context.RequestAborted).ConfigureAwait(false);
        context.Response.Headers.Upgrade = ExecProtocol.Name;
        Stream connection = await upgrade.UpgradeAsync().ConfigureAwait(false);
        await using (connection.ConfigureAwait(false))
            await new ExecSession(seat.Programs, connection).RunAsync(context.RequestAborted).ConfigureAwait(false);
    }
}
