using System.Net;
using System.Net.Sockets;

namespace Trapline.Bench;

/// <summary>The host's end, on the loopback address: the first byte says what to do with the connection.</summary>
internal sealed class Server : IDisposable
{
    private const int Lump = 1 << 18;

    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);

    public Server()
    {
        _listener.Start();
        new Thread(Accept) { IsBackground = true }.Start();
    }

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    public void Dispose() => _listener.Dispose();

    private void Accept()
    {
        try
        {
            while (true)
            {
                Socket client = _listener.AcceptSocket();
                new Thread(() => Serve(client)) { IsBackground = true }.Start();
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The end.
        }
    }

    private static void Serve(Socket client)
    {
        byte[] buffer = new byte[Lump];
        try
        {
            using (client)
            {
                client.NoDelay = true;
                if (client.Receive(buffer, 1, SocketFlags.None) != 1)
                    return;
                switch ((char)buffer[0])
                {
                    case 's':
                        while (client.Receive(buffer) > 0)
                        {
                        }
                        client.Send(buffer, 1, SocketFlags.None);
                        break;
                    case 'r':
                        while (true)
                            client.Send(buffer);
                    case 'e':
                        while (client.Receive(buffer) is > 0 and var n)
                            client.Send(buffer, n, SocketFlags.None);
                        break;
                }
            }
        }
        catch (SocketException)
        {
            // The guest has what it wanted.
        }
    }
}
