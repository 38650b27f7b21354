using System.Net.Sockets;
using System.Threading.Channels;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging.Abstractions;

namespace Trapline.Control.Server;

/// <summary>The web server, from the first connection on.</summary>
/// <remarks>Built from nothing: no configuration files or variables of the environment, no log, no signal handlers; those are the run's.</remarks>
internal sealed class ControlHost : IAsyncDisposable
{
    /// <summary>What may be said in answer to a request that was under way.</summary>
    private static readonly TimeSpan LastWords = TimeSpan.FromSeconds(2);

    private readonly WebApplication _application;

    private ControlHost(WebApplication application)
    {
        _application = application;
    }

    /// <param name="connections">Accepted by the caller, and owned by the server once it has read them.</param>
    public static async Task<ControlHost> StartAsync(ChannelReader<Socket> connections, IMachineCatalog machines)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(Limit);
        builder.Services.AddRoutingCore();
        builder.Services.AddSingleton<IHostLifetime, NoLifetime>();
        builder.Services.AddSingleton<IConnectionListenerFactory>(new HandedOverFactory(connections));
        WebApplication application = builder.Build();
        application.Use(Problems.Answer);
        application.UseRouting();
        MachineEndpoints.Map(application, machines);
        application.UseEndpoints(_ => { });
        await application.StartAsync().ConfigureAwait(false);
        return new ControlHost(application);
    }

    public async ValueTask DisposeAsync()
    {
        using CancellationTokenSource patience = new(LastWords);
        await _application.StopAsync(patience.Token).ConfigureAwait(false);
        await _application.DisposeAsync().ConfigureAwait(false);
    }

    /// <summary>Requests are small and clients few: what is larger is a mistake or malice.</summary>
    private static void Limit(KestrelServerOptions options)
    {
        options.AddServerHeader = false;
        options.Limits.MaxRequestBodySize = 64 << 10;
        options.Limits.MaxRequestHeadersTotalSize = 16 << 10;
        options.Limits.MaxConcurrentConnections = 128;
        options.Limits.MaxConcurrentUpgradedConnections = 64;
        options.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(10);
        options.Limits.KeepAliveTimeout = TimeSpan.FromSeconds(30);
        // A terminal that its user has stopped reads nothing for as long as that takes.
        options.Limits.MinResponseDataRate = null;
        options.Listen(HandedOverFactory.EndPoint, listen => listen.Protocols = HttpProtocols.Http1);
    }

    /// <summary>The usual one would take Ctrl-C and SIGTERM for itself.</summary>
    private sealed class NoLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }

    /// <summary>Gives the server the connections that others have accepted.</summary>
    private sealed class HandedOverFactory(ChannelReader<Socket> connections) : IConnectionListenerFactory, IConnectionListenerFactorySelector
    {
        public static System.Net.EndPoint EndPoint { get; } = new HandedOverEndPoint();

        public bool CanBind(System.Net.EndPoint endpoint) => endpoint is HandedOverEndPoint;

        public ValueTask<IConnectionListener> BindAsync(System.Net.EndPoint endpoint, CancellationToken cancellationToken = default) =>
            new(new HandedOverListener(endpoint, connections));

        private sealed class HandedOverEndPoint : System.Net.EndPoint
        {
            public override string ToString() => "the control sockets";
        }
    }

    private sealed class HandedOverListener(System.Net.EndPoint endpoint, ChannelReader<Socket> accepted) : IConnectionListener
    {
        private readonly SocketConnectionContextFactory _connections = new(new SocketConnectionFactoryOptions(), NullLogger.Instance);
        private readonly CancellationTokenSource _unbound = new();

        public System.Net.EndPoint EndPoint => endpoint;

        public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default)
        {
            using CancellationTokenSource either = CancellationTokenSource.CreateLinkedTokenSource(_unbound.Token, cancellationToken);
            try
            {
                return _connections.Create(await accepted.ReadAsync(either.Token).ConfigureAwait(false));
            }
            catch (Exception e) when (e is OperationCanceledException or ChannelClosedException)
            {
                return null;
            }
        }

        public ValueTask UnbindAsync(CancellationToken cancellationToken = default) => new(_unbound.CancelAsync());

        public ValueTask DisposeAsync()
        {
            _connections.Dispose();
            _unbound.Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
