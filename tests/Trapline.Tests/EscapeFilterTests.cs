using System.Text;
using Trapline.Cli.Terminal;

namespace Trapline.Tests;

public class EscapeFilterTests
{
    [Theory]
    [InlineData("plain\u0003", "plain\u0003", "")]
    [InlineData("a\u0001hb", "ab", "h")]
    [InlineData("a\u0001ab", "a\u0001b", "")]
    [InlineData("a\u0001\u0001b", "a\u0001b", "")]
    [InlineData("a\u0001zb", "ab", "")]
    [InlineData("a\u0001xignored", "a", "q")]
    public void EscapesAreTakenOutAndObeyed(string typed, string sent, string done)
    {
        foreach (int piece in new[] { 1, 2, 100 })
        {
            StringBuilder guest = new();
            string actions = "";
            EscapeFilter filter = new(() => actions += "q", () => actions += "h");
            byte[] bytes = Encoding.UTF8.GetBytes(typed);
            for (int i = 0; i < bytes.Length && !actions.Contains('q'); i += piece)
                guest.Append(Encoding.UTF8.GetString(filter.Apply(bytes.AsSpan(i, Math.Min(piece, bytes.Length - i)))));
            Assert.Equal(sent, guest.ToString());
            Assert.Equal(done, actions);
        }
    }
}
