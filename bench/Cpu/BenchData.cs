using System.Globalization;
using System.Text;

namespace Trapline.Bench;

/// <summary>What the programs work on: made by rule, the same on every machine.</summary>
internal static class BenchData
{
    public const string Text = "/data/text";
    public const string ShortText = "/data/short";
    public const string Statements = "/data/statements.sql";

    private static readonly string[] Words =
        "the machine of a guest and its memory is in page table that host for clock with device interrupt as was line on".Split(' ');

    public static IEnumerable<(string Path, byte[] Content)> Files(double scale)
    {
        byte[] text = MakeText((int)(4e6 * scale));
        yield return (Text, text);
        yield return (ShortText, text[..(text.Length / 8)]);
        yield return (Statements, Encoding.ASCII.GetBytes(MakeStatements((int)(6000 * scale))));
        yield return ("/data/program.c", Encoding.ASCII.GetBytes(MakeProgram(400)));
        yield return ("/data/compile.sh", "/usr/bin/tcc -c -nostdinc -o /tmp/program.o /data/program.c && exec /bin/busybox cat /tmp/program.o\n"u8.ToArray());
        yield return ("/data/words.awk", "{ for (i = 1; i <= NF; i++) n[$i]++ } END { for (w in n) s += length(w) * n[w]; print NR, s }\n"u8.ToArray());
        yield return ("/data/work.py", Encoding.ASCII.GetBytes(Python.Replace("COUNT", Number((int)(10_000 * scale)), StringComparison.Ordinal)));
    }

    private const string Python = """
        class Node:
            __slots__ = ("key", "left", "right")
            def __init__(self, key):
                self.key, self.left, self.right = key, None, None

        def insert(root, key):
            while key != root.key:
                side = "left" if key < root.key else "right"
                child = getattr(root, side)
                if child is None:
                    setattr(root, side, Node(key))
                    return
                root = child

        x, words, root = 1, {}, Node(1 << 30)
        for i in range(COUNT):
            x = (x * 1103515245 + 12345) & 0x7FFFFFFF
            insert(root, x)
            word = "w%d" % (x % 997)
            words[word] = words.get(word, 0) + len(word)
        print(sorted(words.items())[:5], sum(v * v for v in words.values()))

        """;

    /// <summary>Lines of words of unequal frequency with numbers between: as compressible as prose.</summary>
    private static byte[] MakeText(int size)
    {
        StringBuilder text = new(size + 200);
        uint x = 1;
        while (text.Length < size)
        {
            for (int i = 0; i < 12; i++)
            {
                x = x * 1664525 + 1013904223;
                int r = (int)(x >> 8) % 100;
                text.Append(r < 10 ? Number((int)(x >> 12) % 10_000) : Words[r * r % Words.Length]).Append(' ');
            }
            text[^1] = '\n';
        }
        return Encoding.ASCII.GetBytes(text.ToString(0, size));
    }

    private static string MakeStatements(int rows)
    {
        StringBuilder sql = new("create table a(id integer primary key, name text, value real);\ncreate table b(id integer, a integer);\nbegin;\n");
        uint x = 7;
        for (int i = 1; i <= rows; i++)
        {
            x = x * 1664525 + 1013904223;
            sql.Append(CultureInfo.InvariantCulture, $"insert into a values({i}, 'name {x >> 16}', {(x >> 8) % 1000}.5);\n");
            if (i % 3 == 0)
                sql.Append(CultureInfo.InvariantCulture, $"insert into b values({x >> 20}, {x % (uint)i + 1});\n");
        }
        return sql.Append("""
            commit;
            create index b_a on b(a);
            select count(*), sum(value) from a where name like '%77%';
            select substr(name, 1, 7) k, count(*), max(value) from a group by k order by k limit 10;
            select sum(a.value * b.id) from a join b on b.a = a.id where a.id % 2 = 0;
            update a set value = value + 1 where id in (select a from b);
            select total(value) from a;

            """).ToString();
    }

    /// <summary>A C program without headers, of functions that call each other.</summary>
    private static string MakeProgram(int functions)
    {
        StringBuilder c = new("typedef unsigned long word; struct item { word key; int next[4]; double weight; };\n");
        for (int i = 0; i < functions; i++)
        {
            string callee = i == 0 ? "k + 1" : $"f{Number(i - 1)}(p, k >> 1)";
            c.Append(CultureInfo.InvariantCulture, $$"""
                static word f{{i}}(struct item *p, word k) {
                  word sum = {{i * 7 + 1}};
                  for (int i = 0; i < {{i % 9 + 2}}; i++) {
                    if (p[i].key & (1ul << (i + {{i % 5}}))) sum += p[i].next[i & 3] * k; else sum ^= (word)(p[i].weight * {{i % 7}}.25);
                    switch ((sum + k) % 5) { case 0: sum -= 3; break; case 1: case 2: sum *= {{i + 2}}; break; default: p[i].key = sum; }
                  }
                  return k ? sum + {{callee}} : sum;
                }

                """);
        }
        return c.Append(CultureInfo.InvariantCulture, $"word start(struct item *p) {{ return f{functions - 1}(p, 12345); }}\n").ToString();
    }

    private static string Number(int value) => value.ToString(CultureInfo.InvariantCulture);
}
