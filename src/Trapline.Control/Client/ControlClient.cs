using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Trapline.Agent;
using Trapline.Control.Api;

namespace Trapline.Control.Client;

/// <summary>Speaks to the machines behind one control socket.</summary>
/// <remarks>All calls throw <see cref="ControlException"/> where they are refused or nobody answers.</remarks>
public sealed class ControlClient : IDisposable
{
    private readonly HttpClient _http;

    public ControlClient(string socketPath)
    {
        SocketsHttpHandler handler = new()
        {
            UseProxy = false,
            UseCookies = false,
            AllowAutoRedirect = false,
            ConnectCallback = async (_, cancellation) =>
            {
                Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                try
                {
                    await socket.ConnectAsync(new UnixDomainSocketEndPoint(socketPath), cancellation).ConfigureAwait(false);
                    return new NetworkStream(socket, ownsSocket: true);
                }
                catch
                {
                    socket.Dispose();
                    throw;
                }
            },
        };
        // The host's name means nothing: the socket is the address.
        _http = new HttpClient(handler) { BaseAddress = new Uri("http://trapline"), Timeout = Timeout.InfiniteTimeSpan };
    }

    public Task<MachineList> ListAsync(CancellationToken cancellation = default) => GetAsync(Routes.Machines, ApiJson.Tolerant.MachineList, cancellation);

    public Task<MachineInfo> DescribeAsync(string name, CancellationToken cancellation = default) =>
        GetAsync(Routes.For(Routes.Machine, name), ApiJson.Tolerant.MachineInfo, cancellation);

    public Task<MachineReport> ReportAsync(string name, CancellationToken cancellation = default) =>
        GetAsync(Routes.For(Routes.Statistics, name), ApiJson.Tolerant.MachineReport, cancellation);

    /// <summary>One of the requests that have no body and answer with the machine: pause, resume, reset, power button, NMI.</summary>
    /// <param name="route">Of <see cref="Routes"/>.</param>
    public Task<MachineInfo> SwitchAsync(string route, string name, CancellationToken cancellation = default) =>
        SendAsync(new HttpRequestMessage(HttpMethod.Post, Routes.For(route, name)), ApiJson.Tolerant.MachineInfo, cancellation);

    public Task<MachineEnded> StopAsync(string name, StopRequest request, CancellationToken cancellation = default) =>
        PostAsync(Routes.For(Routes.Stop, name), request, ApiJson.Default.StopRequest, ApiJson.Tolerant.MachineEnded, cancellation);

    public Task<EngineSwitched> SwitchEngineAsync(string name, EngineRequest request, CancellationToken cancellation = default) =>
        PostAsync(Routes.For(Routes.Engine, name), request, ApiJson.Default.EngineRequest, ApiJson.Tolerant.EngineSwitched, cancellation);

    public Task<BalloonReport> SetBalloonAsync(string name, BalloonRequest request, CancellationToken cancellation = default) =>
        PostAsync(Routes.For(Routes.Balloon, name), request, ApiJson.Default.BalloonRequest, ApiJson.Tolerant.BalloonReport, cancellation);

    public Task<MachineSaved> SaveAsync(string name, SaveRequest request, CancellationToken cancellation = default) =>
        PostAsync(Routes.For(Routes.Save, name), request, ApiJson.Default.SaveRequest, ApiJson.Tolerant.MachineSaved, cancellation);

    /// <returns>The clones.</returns>
    public Task<MachineList> ForkAsync(string name, ForkRequest request, CancellationToken cancellation = default) =>
        PostAsync(Routes.For(Routes.Fork, name), request, ApiJson.Default.ForkRequest, ApiJson.Tolerant.MachineList, cancellation);

    /// <summary>Runs a program in the guest, whose agent may still be coming up.</summary>
    public async Task<RemoteProgram> ExecuteAsync(string name, GuestProgram program, CancellationToken cancellation = default)
    {
        using HttpRequestMessage request = new(HttpMethod.Post, Routes.For(Routes.Execute, name));
        request.Headers.Connection.Add("Upgrade");
        request.Headers.Upgrade.Add(new ProductHeaderValue(ExecProtocol.Name));
        HttpResponseMessage response;
        try
        {
            response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellation).ConfigureAwait(false);
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            throw Silent(e);
        }
        if (response.StatusCode == HttpStatusCode.SwitchingProtocols)
            return new RemoteProgram(program, await response.Content.ReadAsStreamAsync(cancellation).ConfigureAwait(false));
        using (response)
        {
            await ThrowIfRefusedAsync(response, cancellation).ConfigureAwait(false);
            throw new ControlException(0, "the machine does not speak " + ExecProtocol.Name);
        }
    }

    public void Dispose() => _http.Dispose();

    private static ControlException Silent(Exception e) => new(0, $"the machine does not answer: {(e.InnerException ?? e).Message.TrimEnd('.')}");

    private Task<T> GetAsync<T>(string path, JsonTypeInfo<T> type, CancellationToken cancellation) =>
        SendAsync(new HttpRequestMessage(HttpMethod.Get, path), type, cancellation);

    private Task<TAnswer> PostAsync<TRequest, TAnswer>(
        string path, TRequest request, JsonTypeInfo<TRequest> requestType, JsonTypeInfo<TAnswer> answerType, CancellationToken cancellation) =>
        SendAsync(new HttpRequestMessage(HttpMethod.Post, path) { Content = JsonContent.Create(request, requestType) }, answerType, cancellation);

    private async Task<T> SendAsync<T>(HttpRequestMessage request, JsonTypeInfo<T> type, CancellationToken cancellation)
    {
        try
        {
            using HttpResponseMessage response = await _http.SendAsync(request, cancellation).ConfigureAwait(false);
            await ThrowIfRefusedAsync(response, cancellation).ConfigureAwait(false);
            return await response.Content.ReadFromJsonAsync(type, cancellation).ConfigureAwait(false)
                ?? throw new ControlException(0, "the machine's answer is empty");
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            throw Silent(e);
        }
        catch (JsonException e)
        {
            throw new ControlException(0, $"the machine's answer cannot be read: {e.Message}");
        }
        finally
        {
            request.Dispose();
        }
    }

    private static async Task ThrowIfRefusedAsync(HttpResponseMessage response, CancellationToken cancellation)
    {
        if (response.IsSuccessStatusCode)
            return;
        Problem? problem = response.Content.Headers.ContentType?.MediaType == Problem.MediaType
            ? await response.Content.ReadFromJsonAsync(ApiJson.Tolerant.Problem, cancellation).ConfigureAwait(false)
            : null;
        throw new ControlException((int)response.StatusCode, problem?.Detail ?? $"the machine answers {(int)response.StatusCode} {response.ReasonPhrase}");
    }
}
