using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Trapline.Bench;

/// <summary>The guest programs: hand-written loops like those compilers make, each with the result that C# computes for it.</summary>
public static unsafe class Programs
{
    /// <param name="Bytes">Bytes that its string instructions go over, which say more than their number; 0 for the others.</param>
    public sealed record Entry(string Name, string What, Action<Assembler> Code, Func<BenchGuest, ulong> Prepare, long Bytes = 0);

    public static readonly Entry[] All =
    [
        new("crc", "bitwise CRC-32 of 128 KiB", Crc, PrepareCrc),
        new("sort", "Shell sort of 64 Ki integers", Sort, PrepareSort),
        new("chase", "linked list of 64 Ki nodes, 64 bytes apart, 8 times", Chase, PrepareChase),
        new("copy", "8 MiB copied by 8 bytes, checksummed", Copy, PrepareCopy),
        new("fib", "recursive fib(27)", Fib, _ => 196_418),
        new("sieve", "primes below 1 Mi by a byte sieve", Sieve, _ => 82_025),
        new("x87", "dot product of 64 Ki long doubles, 8 times", X87, PrepareX87),
        new("round", "64 Ki doubles to integers by way of x87, 8 times", Round, PrepareRound),
        new("string", "REP MOVSB, STOSQ and SCASB over 1 MiB, 64 times", Strings, _ => 64ul << 20, 3L * 64 << 20),
    ];

    private const int Elements = 64 << 10;

    /// <summary>Small integers, so that the sum is exact.</summary>
    private static ulong PrepareX87(BenchGuest g)
    {
        ulong sum = 0;
        for (int i = 0; i < 2 * Elements; i++)
        {
            int value = i % 251 + 1, exponent = 31 - int.LeadingZeroCount(value);
            byte* p = g.At(BenchGuest.Data) + i * 16;
            *(ulong*)p = (ulong)value << (63 - exponent);
            *(ushort*)(p + 8) = (ushort)(0x3FFF + exponent);
        }
        for (int i = 0; i < Elements; i++)
            sum += (ulong)((i % 251 + 1) * ((i + Elements) % 251 + 1));
        return 8 * sum;
    }

    private static void X87(Assembler a)
    {
        Label again = a.CreateLabel(), next = a.CreateLabel();
        a.fninit();
        a.fldz();
        a.lea(rsi, __[rdi + Elements * 16]);
        a.mov(ecx, 8);
        a.Label(ref again);
        a.xor(edx, edx);
        a.Label(ref next);
        a.fld(__tbyte_ptr[rdi + rdx]);
        a.fld(__tbyte_ptr[rsi + rdx]);
        a.fmulp(st1, st0);
        a.faddp(st1, st0);
        a.add(rdx, 16);
        a.cmp(rdx, Elements * 16);
        a.jne(next);
        a.dec(ecx);
        a.jne(again);
        a.fistp(__qword_ptr[rdi]);
        a.mov(rax, __qword_ptr[rdi]);
    }

    private const int Reals = 64 << 10;

    private static ulong PrepareRound(BenchGuest g)
    {
        double* p = (double*)g.At(BenchGuest.Data);
        ulong sum = 0;
        for (int i = 0; i < Reals; i++)
        {
            p[i] = i * 1.375;
            sum += (ulong)p[i];
        }
        return 8 * sum;
    }

    /// <summary>The cast from long double to integer as compilers make it: the control word says "truncate" and is set back.</summary>
    private static void Round(Assembler a)
    {
        Label again = a.CreateLabel(), next = a.CreateLabel();
        a.fninit();
        a.xor(eax, eax);
        a.mov(ecx, 8);
        a.Label(ref again);
        a.xor(edx, edx);
        a.Label(ref next);
        a.fld(__qword_ptr[rdi + rdx * 8]);
        a.fnstcw(__word_ptr[rsp - 2]);
        a.movzx(ebx, __word_ptr[rsp - 2]);
        a.or(ebx, 0xC00);
        a.mov(__word_ptr[rsp - 4], bx);
        a.fldcw(__word_ptr[rsp - 4]);
        a.fistp(__qword_ptr[rsp - 16]);
        a.fldcw(__word_ptr[rsp - 2]);
        a.add(rax, __qword_ptr[rsp - 16]);
        a.inc(edx);
        a.cmp(edx, Reals);
        a.jne(next);
        a.dec(ecx);
        a.jne(again);
    }

    private const int CrcBytes = 128 << 10;

    private static ulong PrepareCrc(BenchGuest g)
    {
        uint crc = uint.MaxValue;
        byte* p = g.At(BenchGuest.Data);
        for (int i = 0; i < CrcBytes; i++)
        {
            p[i] = (byte)(i * 31 + (i >> 8));
            crc ^= p[i];
            for (int k = 0; k < 8; k++)
                crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320u : 0);
        }
        return crc;
    }

    private static void Crc(Assembler a)
    {
        Label bytes = a.CreateLabel(), bits = a.CreateLabel();
        a.lea(rsi, __[rdi + CrcBytes]);
        a.mov(eax, -1);
        a.Label(ref bytes);
        a.movzx(edx, __byte_ptr[rdi]);
        a.xor(eax, edx);
        a.mov(ecx, 8);
        a.Label(ref bits);
        a.mov(edx, eax);
        a.and(edx, 1);
        a.neg(edx);
        a.and(edx, 0xEDB88320u);
        a.shr(eax, 1);
        a.xor(eax, edx);
        a.sub(ecx, 1);
        a.jne(bits);
        a.inc(rdi);
        a.cmp(rdi, rsi);
        a.jb(bytes);
    }

    private const int SortCount = 64 << 10;

    private static ulong PrepareSort(BenchGuest g)
    {
        uint* p = (uint*)g.At(BenchGuest.Data);
        uint x = 12345;
        for (int i = 0; i < SortCount; i++)
        {
            x = x * 1664525 + 1013904223;
            p[i] = x >> 8;
        }
        uint[] sorted = new Span<uint>(p, SortCount).ToArray();
        Array.Sort(sorted);
        ulong sum = 0;
        for (int i = 0; i < SortCount; i++)
            sum = sum * 31 + sorted[i];
        return sum;
    }

    private static void Sort(Assembler a)
    {
        Label gaps = a.CreateLabel(), items = a.CreateLabel(), shift = a.CreateLabel(), place = a.CreateLabel();
        a.mov(r8d, SortCount / 2);
        a.Label(ref gaps);
        a.mov(r9d, r8d);
        a.Label(ref items); // insert item r9 into its chain
        a.mov(r10d, __dword_ptr[rdi + r9 * 4]);
        a.mov(r11d, r9d);
        a.Label(ref shift);
        a.mov(edx, r11d);
        a.sub(edx, r8d);
        a.jb(place);
        a.mov(eax, __dword_ptr[rdi + rdx * 4]);
        a.cmp(eax, r10d);
        a.jbe(place);
        a.mov(__dword_ptr[rdi + r11 * 4], eax);
        a.mov(r11d, edx);
        a.jmp(shift);
        a.Label(ref place);
        a.mov(__dword_ptr[rdi + r11 * 4], r10d);
        a.add(r9d, 1);
        a.cmp(r9d, SortCount);
        a.jne(items);
        a.shr(r8d, 1);
        a.jne(gaps);
        Label sum = a.CreateLabel();
        a.xor(eax, eax);
        a.xor(ecx, ecx);
        a.Label(ref sum);
        a.imul(rax, rax, 31);
        a.mov(edx, __dword_ptr[rdi + rcx * 4]);
        a.add(rax, rdx);
        a.inc(ecx);
        a.cmp(ecx, SortCount);
        a.jb(sum);
    }

    private const int Nodes = 64 << 10;

    private static ulong PrepareChase(BenchGuest g)
    {
        int[] order = new int[Nodes];
        for (int i = 0; i < Nodes; i++)
            order[i] = i;
        new Random(3).Shuffle(order.AsSpan(1));
        for (int i = 0; i < Nodes; i++)
        {
            ulong* node = (ulong*)g.At(BenchGuest.Data + (ulong)order[i] * 64);
            node[0] = BenchGuest.Data + (ulong)order[(i + 1) % Nodes] * 64;
            node[1] = (ulong)order[i];
        }
        return 8ul * Nodes * (Nodes - 1) / 2;
    }

    private static void Chase(Assembler a)
    {
        Label next = a.CreateLabel();
        a.xor(eax, eax);
        a.mov(ecx, Nodes * 8);
        a.Label(ref next);
        a.add(rax, __qword_ptr[rdi + 8]);
        a.mov(rdi, __qword_ptr[rdi]);
        a.dec(ecx);
        a.jne(next);
    }

    private const int CopyBytes = 8 << 20;

    private static ulong PrepareCopy(BenchGuest g)
    {
        ulong* p = (ulong*)g.At(BenchGuest.Data);
        ulong sum = 0;
        for (int i = 0; i < CopyBytes / 8; i++)
        {
            p[i] = (ulong)i * 0x9E3779B97F4A7C15;
            sum += p[i];
        }
        return sum;
    }

    private static void Copy(Assembler a)
    {
        Label next = a.CreateLabel();
        a.xor(eax, eax);
        a.lea(rsi, __[rdi + CopyBytes]);
        a.mov(ecx, CopyBytes);
        a.xor(edx, edx);
        a.Label(ref next);
        a.mov(rbx, __qword_ptr[rdi + rdx]);
        a.mov(__qword_ptr[rsi + rdx], rbx);
        a.add(rax, rbx);
        a.add(rdx, 8);
        a.cmp(rdx, rcx);
        a.jne(next);
    }

    private static void Fib(Assembler a)
    {
        Label fib = a.CreateLabel(), recurse = a.CreateLabel(), done = a.CreateLabel();
        a.mov(edi, 27);
        a.call(fib);
        a.jmp(done);
        a.Label(ref fib); // as gcc -O1 compiles it
        a.cmp(edi, 1);
        a.jg(recurse);
        a.mov(eax, edi);
        a.ret();
        a.Label(ref recurse);
        a.push(rbp);
        a.push(rbx);
        a.sub(rsp, 8);
        a.mov(ebx, edi);
        a.lea(edi, __[rbx - 1]);
        a.call(fib);
        a.mov(ebp, eax);
        a.lea(edi, __[rbx - 2]);
        a.call(fib);
        a.add(eax, ebp);
        a.add(rsp, 8);
        a.pop(rbx);
        a.pop(rbp);
        a.ret();
        a.Label(ref done);
    }

    private const int SieveSize = 1 << 20;

    private static void Sieve(Assembler a)
    {
        Label clear = a.CreateLabel(), outer = a.CreateLabel(), inner = a.CreateLabel(), next = a.CreateLabel();
        a.xor(edx, edx);
        a.Label(ref clear);
        a.mov(__qword_ptr[rdi + rdx], 0);
        a.add(edx, 8);
        a.cmp(edx, SieveSize);
        a.jne(clear);
        a.xor(eax, eax);
        a.mov(ecx, 2);
        a.Label(ref outer);
        a.cmp(__byte_ptr[rdi + rcx], 0);
        a.jne(next);
        a.inc(eax);
        a.mov(rdx, rcx);
        a.imul(rdx, rcx);
        a.cmp(rdx, SieveSize);
        a.jae(next);
        a.Label(ref inner);
        a.mov(__byte_ptr[rdi + rdx], 1);
        a.add(rdx, rcx);
        a.cmp(rdx, SieveSize);
        a.jb(inner);
        a.Label(ref next);
        a.inc(ecx);
        a.cmp(ecx, SieveSize);
        a.jne(outer);
    }

    private static void Strings(Assembler a)
    {
        Label next = a.CreateLabel();
        a.mov(r8, rdi);
        a.mov(ebx, 64);
        a.xor(ebp, ebp);
        a.Label(ref next);
        a.mov(rdi, r8);
        a.mov(eax, 0x01010101);
        a.mov(ecx, (1 << 20) / 8);
        a.rep.stosq();
        a.mov(rsi, r8);
        a.lea(rdi, __[r8 + (2 << 20)]);
        a.mov(ecx, 1 << 20);
        a.rep.movsb();
        a.mov(__byte_ptr[rdi], 2);
        a.lea(rdi, __[r8 + (2 << 20)]);
        a.mov(al, 2);
        a.mov(rcx, -1);
        a.repne.scasb();
        a.not(rcx);
        a.lea(rbp, __[rbp + rcx - 1]);
        a.dec(ebx);
        a.jne(next);
        a.mov(rax, rbp);
    }
}
