/* The host CPU as an oracle: runs one instruction at a time natively and reports the whole user-visible state after it.
 *
 * How it works: a signal frame is a complete register file that the kernel loads on return. The handler copies a case into the frame with TF
 * set and returns; the CPU executes exactly one instruction and traps back (or faults back) into the handler, which copies the state out.
 * No assembly is needed, and compatibility-mode (32-bit) cases differ only in the code selector.
 *
 * Protocol: argv[1] is a file to map (struct batch); a byte on stdin starts a batch, a byte on stdout says it is done.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define CODE_BASE 0x20000000ul
#define DATA_BASE 0x10000000ul
#define DATA_SIZE 0x2000ul
#define XSAVE_SIZE 832
#define MAX_CASES 256

struct state {
    uint64_t gpr[16]; /* encoding order */
    uint64_t rip, rflags;
    uint8_t xsave[XSAVE_SIZE];
    uint8_t data[DATA_SIZE];
};

struct test {
    struct state in, out;
    uint8_t code[16];
    uint32_t length, bits;         /* code bytes; 64 or 32 */
    uint32_t vector, error_code;   /* 1: completed (single step) */
    uint64_t address;              /* CR2 of a page fault */
    uint32_t repeats;              /* instruction may restart itself (REP) */
    uint32_t pad;
};

struct batch {
    uint64_t count;
    struct test tests[MAX_CASES];
};

static struct batch *batch;
static volatile uint64_t current;
static volatile int running;
static sigjmp_buf done;
static volatile unsigned steps;

static const int order[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
    REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };

static void copy(void *to, const void *from, size_t n)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

static void enter(ucontext_t *uc)
{
    struct test *t = &batch->tests[current];
    greg_t *g = uc->uc_mcontext.gregs;
    copy((void *)DATA_BASE, t->in.data, DATA_SIZE);
    copy((void *)t->in.rip, t->code, t->length);
    for (int i = 0; i < 16; i++)
        g[order[i]] = (greg_t)t->in.gpr[i];
    g[REG_RIP] = (greg_t)t->in.rip;
    g[REG_EFL] = (greg_t)(t->in.rflags | 0x100);
    uint64_t selectors = (uint64_t)g[REG_CSGSFS];
    g[REG_CSGSFS] = (greg_t)((selectors & ~0xFFFFul) | (t->bits == 32 ? 0x23 : 0x33));
    uint8_t *fp = (uint8_t *)uc->uc_mcontext.fpregs;
    uint8_t reserved[48];
    copy(reserved, fp + 464, 48); /* software-reserved bytes belong to the kernel */
    copy(fp, t->in.xsave, 512);
    copy(fp + 464, reserved, 48);
    copy(fp + 576, t->in.xsave + 576, 256);
    *(uint64_t *)(fp + 512) |= 7;
    steps = 0;
    running = 1;
}

static void handler(int signal, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    greg_t *g = uc->uc_mcontext.gregs;
    (void)info;
    if (!running) {
        if (signal != SIGUSR1)
            _exit(3);
        enter(uc);
        return;
    }
    struct test *t = &batch->tests[current];
    if (g[REG_TRAPNO] == 1 && t->repeats && (uint64_t)g[REG_RIP] == t->in.rip && ++steps < 100000) {
        g[REG_EFL] |= 0x100;
        return;
    }
    running = 0;
    for (int i = 0; i < 16; i++)
        t->out.gpr[i] = (uint64_t)g[order[i]];
    t->out.rip = (uint64_t)g[REG_RIP];
    t->out.rflags = (uint64_t)g[REG_EFL];
    t->vector = (uint32_t)g[REG_TRAPNO];
    t->error_code = (uint32_t)g[REG_ERR];
    t->address = (uint64_t)g[REG_CR2];
    uint8_t *fp = (uint8_t *)uc->uc_mcontext.fpregs;
    copy(t->out.xsave, fp, XSAVE_SIZE);
    copy(t->out.data, (void *)DATA_BASE, DATA_SIZE);
    if (++current < batch->count) {
        enter(uc);
        return;
    }
    siglongjmp(done, 1);
}

int main(int argc, char **argv)
{
    int fd = argc > 1 ? open(argv[1], O_RDWR) : -1;
    if (fd < 0)
        return 2;
    batch = mmap(0, sizeof *batch, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    void *data = mmap((void *)DATA_BASE, DATA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    void *code = mmap((void *)CODE_BASE, 0x2000, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (batch == MAP_FAILED || data == MAP_FAILED || code == MAP_FAILED)
        return 2;
    memset(code, 0x90, 0x2000);
    size_t stack_size = 1 << 18;
    stack_t stack = { .ss_sp = malloc(stack_size), .ss_size = stack_size };
    sigaltstack(&stack, 0);
    struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
    int signals[] = { SIGUSR1, SIGTRAP, SIGSEGV, SIGBUS, SIGILL, SIGFPE };
    for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
        sigaction(signals[i], &action, 0);
    /* Compatibility mode needs real data segments; 64-bit code does not look at them. */
    __asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(0x2b));
    char c;
    while (read(0, &c, 1) == 1) {
        current = 0;
        if (batch->count && !sigsetjmp(done, 1))
            raise(SIGUSR1);
        if (write(1, &c, 1) != 1)
            break;
    }
    return 0;
}
