using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.AspNetCore.Http;

namespace Trapline.Control.Server;

/// <summary>Bodies as JSON, whole: answers have a length, so that the simplest of clients can read them.</summary>
internal static class JsonBody
{
    public static Task WriteAsync<T>(HttpContext context, T body, JsonTypeInfo<T> type, string mediaType = "application/json")
    {
        byte[] bytes = JsonSerializer.SerializeToUtf8Bytes(body, type);
        context.Response.ContentType = mediaType;
        context.Response.ContentLength = bytes.Length;
        return context.Response.Body.WriteAsync(bytes, 0, bytes.Length, context.RequestAborted);
    }

    /// <summary>Null if there is none.</summary>
    /// <exception cref="JsonException">It is not what is wanted.</exception>
    public static async Task<T?> ReadAsync<T>(HttpContext context, JsonTypeInfo<T> type) where T : class
    {
        using MemoryStream body = new();
        await context.Request.Body.CopyToAsync(body, context.RequestAborted).ConfigureAwait(false);
        return body.Length == 0 ? null : JsonSerializer.Deserialize(body.GetBuffer().AsSpan(0, (int)body.Length), type);
    }
}
