using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.WebUtilities;
using Trapline.Control.Api;
using Trapline.Core;

namespace Trapline.Control.Server;

/// <summary>Every refusal is a problem with one line that says what and why; no fault of a handler gets past this.</summary>
internal static class Problems
{
    public static async Task Answer(HttpContext context, RequestDelegate next)
    {
        try
        {
            await next(context).ConfigureAwait(false);
            if (context.Response is { HasStarted: false, StatusCode: >= 400, ContentType: null })
                await WriteAsync(context, context.Response.StatusCode, $"{context.Request.Method} {context.Request.Path} is not a request of this API").ConfigureAwait(false);
        }
        catch (Exception) when (context.RequestAborted.IsCancellationRequested || context.Response.HasStarted)
        {
            // Nobody is there to be told, or it is too late: the connection says it.
            context.Abort();
        }
        catch (Exception e)
        {
            (int status, string line) = e switch
            {
                RefusedException refused => (refused.Status, refused.Message),
                BadInputException => (StatusCodes.Status400BadRequest, e.Message),
                JsonException => (StatusCodes.Status400BadRequest, $"the request's body is not what is wanted: {e.Message}"),
                BadHttpRequestException bad => (bad.StatusCode, e.Message),
                _ => (StatusCodes.Status500InternalServerError, $"internal error, please report it: {e.GetType().Name}: {e.Message}"),
            };
            await WriteAsync(context, status, line).ConfigureAwait(false);
        }
    }

    private static Task WriteAsync(HttpContext context, int status, string line)
    {
        context.Response.StatusCode = status;
        Problem problem = new() { Title = ReasonPhrases.GetReasonPhrase(status), Status = status, Detail = line.ReplaceLineEndings(" ") };
        return JsonBody.WriteAsync(context, problem, ApiJson.Default.Problem, Problem.MediaType);
    }
}
