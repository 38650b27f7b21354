// Runs floating-point instructions on the host CPU for the tests: reads 64-byte requests from stdin, writes 64-byte answers.
// Request:  u32 op; u32 control (MXCSR or x87 control word); u8 a[16], b[16], c[16]; 8 spare bytes.
// Answer:   u8 result[16]; u8 second[16]; u8 memory[16]; u32 status (x87 SW, or MXCSR); u32 faulted; u32 flags; u32 spare.
// SSE: faulted = an unmasked exception was delivered; `status` is then MXCSR at the fault and the result is not meaningful.
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

struct request { uint32_t op, control; uint8_t a[16], b[16], c[16], spare[8]; };
struct answer { uint8_t result[16], second[16], memory[16]; uint32_t status, faulted, flags, spare; };

static volatile uint32_t fault_mxcsr, faulted;

static void on_fpe(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    (void)sig; (void)info;
    faulted = 1;
    fault_mxcsr = uc->uc_mcontext.fpregs->mxcsr;
    uc->uc_mcontext.fpregs->mxcsr |= 0x1F80;
}

#define SSE(id, text) case id: \
    __asm__ volatile("movups %3,%%xmm0; movups %4,%%xmm1; movups %5,%%xmm2; mov %6,%%eax; mov %7,%%rdx; mov %7,%%rcx; ldmxcsr %8; clc\n\t" text \
        "\n\tpushf; pop %%rdx; stmxcsr %1; ldmxcsr %9; movups %%xmm0,%0; mov %%edx,%2" \
        : "=m"(*(uint8_t(*)[16])ans->result), "=m"(status), "=m"(ans->flags) \
        : "m"(*(uint8_t(*)[16])req->a), "m"(*(uint8_t(*)[16])req->b), "m"(*(uint8_t(*)[16])req->c), \
          "m"(*(uint32_t *)req->b), "m"(*(uint64_t *)req->b), "m"(req->control), "m"(plain) \
        : "rax", "rcx", "rdx", "xmm0", "xmm1", "xmm2", "cc", "memory"); break;
// Convert to a general register: the result is rax.
#define GPR(id, text) case id: { uint64_t rax = 0; \
    __asm__ volatile("movups %2,%%xmm0; movups %3,%%xmm1; xor %%eax,%%eax; ldmxcsr %4\n\t" text "\n\tstmxcsr %1; ldmxcsr %5; mov %%rax,%0" \
        : "=m"(rax), "=m"(status) \
        : "m"(*(uint8_t(*)[16])req->a), "m"(*(uint8_t(*)[16])req->b), "m"(req->control), "m"(plain) \
        : "rax", "xmm0", "xmm1", "memory"); memcpy(ans->result, &rax, 8); break; }
#define CMP(id, n) SSE(id + n, "vcmpsd $" #n ",%%xmm1,%%xmm0,%%xmm0") SSE(id + 32 + n, "vcmpss $" #n ",%%xmm1,%%xmm0,%%xmm0")
#define ROUND(id, n) SSE(id + n, "roundsd $" #n ",%%xmm1,%%xmm0") SSE(id + 16 + n, "roundss $" #n ",%%xmm1,%%xmm0")
#define PH(id, n) SSE(id + n, "vcvtps2ph $" #n ",%%xmm1,%%xmm0")

// ST(0) = a, ST(1) = b, memory operand = c; everything is read back from FNSAVE, which never faults.
#define X87(id, text) case id: \
    __asm__ volatile("fninit; fldt %0; fldt %1; fnclex; fldcw %2\n\t" text "\n\tfnsave %4; pushf; pop %%rdx; mov %%edx,%5" \
        : : "m"(*(uint8_t(*)[10])req->b), "m"(*(uint8_t(*)[10])req->a), "m"(req->control), "m"(*(uint8_t(*)[16])req->c), \
            "m"(*(uint8_t(*)[108])image), "m"(ans->flags) : "rdx", "memory", "cc"); break;

static const uint32_t plain = 0x1F80;

static void run(struct request *req, struct answer *ans)
{
    uint8_t image[108];
    uint32_t status = 0;
    memset(ans, 0, sizeof *ans);
    memset(image, 0, sizeof image);
    faulted = 0;
    switch (req->op) {
    SSE(0, "addsd %%xmm1,%%xmm0") SSE(1, "subsd %%xmm1,%%xmm0") SSE(2, "mulsd %%xmm1,%%xmm0") SSE(3, "divsd %%xmm1,%%xmm0")
    SSE(4, "sqrtsd %%xmm1,%%xmm0") SSE(5, "minsd %%xmm1,%%xmm0") SSE(6, "maxsd %%xmm1,%%xmm0")
    SSE(7, "vfmadd213sd %%xmm2,%%xmm1,%%xmm0") SSE(8, "vfmsub213sd %%xmm2,%%xmm1,%%xmm0")
    SSE(9, "vfnmadd213sd %%xmm2,%%xmm1,%%xmm0") SSE(10, "vfnmsub213sd %%xmm2,%%xmm1,%%xmm0")
    SSE(11, "vfmadd132sd %%xmm2,%%xmm1,%%xmm0") SSE(12, "vfmadd231sd %%xmm2,%%xmm1,%%xmm0")
    SSE(20, "addss %%xmm1,%%xmm0") SSE(21, "subss %%xmm1,%%xmm0") SSE(22, "mulss %%xmm1,%%xmm0") SSE(23, "divss %%xmm1,%%xmm0")
    SSE(24, "sqrtss %%xmm1,%%xmm0") SSE(25, "minss %%xmm1,%%xmm0") SSE(26, "maxss %%xmm1,%%xmm0")
    SSE(27, "vfmadd213ss %%xmm2,%%xmm1,%%xmm0") SSE(28, "vfmsub213ss %%xmm2,%%xmm1,%%xmm0")
    SSE(29, "vfnmadd213ss %%xmm2,%%xmm1,%%xmm0") SSE(30, "vfnmsub213ss %%xmm2,%%xmm1,%%xmm0")
    SSE(40, "ucomisd %%xmm1,%%xmm0") SSE(41, "comisd %%xmm1,%%xmm0") SSE(42, "ucomiss %%xmm1,%%xmm0") SSE(43, "comiss %%xmm1,%%xmm0")
    GPR(50, "cvtsd2si %%xmm1,%%eax") GPR(51, "cvtsd2si %%xmm1,%%rax") GPR(52, "cvttsd2si %%xmm1,%%eax") GPR(53, "cvttsd2si %%xmm1,%%rax")
    GPR(54, "cvtss2si %%xmm1,%%eax") GPR(55, "cvtss2si %%xmm1,%%rax") GPR(56, "cvttss2si %%xmm1,%%eax") GPR(57, "cvttss2si %%xmm1,%%rax")
    SSE(60, "cvtsi2sd %%eax,%%xmm0") SSE(61, "cvtsi2sd %%rdx,%%xmm0") SSE(62, "cvtsi2ss %%eax,%%xmm0") SSE(63, "cvtsi2ss %%rcx,%%xmm0")
    SSE(64, "cvtsd2ss %%xmm1,%%xmm0") SSE(65, "cvtss2sd %%xmm1,%%xmm0") SSE(66, "vcvtph2ps %%xmm1,%%xmm0")
    SSE(67, "rcpss %%xmm1,%%xmm0") SSE(68, "rsqrtss %%xmm1,%%xmm0")
    PH(80, 0) PH(80, 1) PH(80, 2) PH(80, 3) PH(80, 4) PH(80, 5) PH(80, 6) PH(80, 7)
    ROUND(100, 0) ROUND(100, 1) ROUND(100, 2) ROUND(100, 3) ROUND(100, 4) ROUND(100, 5) ROUND(100, 6) ROUND(100, 7)
    ROUND(100, 8) ROUND(100, 9) ROUND(100, 10) ROUND(100, 11) ROUND(100, 12) ROUND(100, 13) ROUND(100, 14) ROUND(100, 15)
    CMP(200, 0) CMP(200, 1) CMP(200, 2) CMP(200, 3) CMP(200, 4) CMP(200, 5) CMP(200, 6) CMP(200, 7)
    CMP(200, 8) CMP(200, 9) CMP(200, 10) CMP(200, 11) CMP(200, 12) CMP(200, 13) CMP(200, 14) CMP(200, 15)
    CMP(200, 16) CMP(200, 17) CMP(200, 18) CMP(200, 19) CMP(200, 20) CMP(200, 21) CMP(200, 22) CMP(200, 23)
    CMP(200, 24) CMP(200, 25) CMP(200, 26) CMP(200, 27) CMP(200, 28) CMP(200, 29) CMP(200, 30) CMP(200, 31)
    // Packed, for what one element's fault does to the others' flags.
    SSE(300, "addps %%xmm1,%%xmm0") SSE(301, "divps %%xmm1,%%xmm0") SSE(302, "mulpd %%xmm1,%%xmm0") SSE(303, "minps %%xmm1,%%xmm0")
    SSE(304, "dpps $0xFF,%%xmm1,%%xmm0") SSE(305, "dppd $0x33,%%xmm1,%%xmm0") SSE(306, "haddps %%xmm1,%%xmm0") SSE(307, "addsubps %%xmm1,%%xmm0")

    // AT&T swaps the mnemonics of fsub/fsubr and fdiv/fdivr with a register destination other than ST(0); ST(0) is plain.
    X87(1000, "fadd %%st(1),%%st") X87(1001, "fsub %%st(1),%%st") X87(1002, "fsubr %%st(1),%%st") X87(1003, "fmul %%st(1),%%st")
    X87(1004, "fdiv %%st(1),%%st") X87(1005, "fdivr %%st(1),%%st") X87(1006, "fsqrt") X87(1007, "fprem") X87(1008, "fprem1")
    X87(1009, "fscale") X87(1010, "fxtract") X87(1011, "frndint") X87(1012, "fcom %%st(1)") X87(1013, "fucom %%st(1)")
    X87(1014, "xor %%edx,%%edx; stc; fcomi %%st(1),%%st") X87(1015, "xor %%edx,%%edx; stc; fucomi %%st(1),%%st") X87(1016, "ftst") X87(1017, "fxam")
    X87(1018, "ffree %%st(0); fincstp; flds %3") X87(1019, "ffree %%st(0); fincstp; fldl %3")
    X87(1020, "fsts %3") X87(1021, "fstl %3") X87(1022, "fistps %3") X87(1023, "fistpl %3") X87(1024, "fistpq %3")
    X87(1025, "fisttps %3") X87(1026, "fisttpl %3") X87(1027, "fisttpll %3")
    X87(1028, "ffree %%st(0); fincstp; filds %3") X87(1029, "ffree %%st(0); fincstp; fildl %3")
    X87(1030, "ffree %%st(0); fincstp; fildq %3") X87(1031, "ffree %%st(0); fincstp; fbld %3") X87(1032, "fbstp %3")
    X87(1033, "fstpt %3")
    X87(1034, "fchs") X87(1035, "fabs") X87(1036, "fadds %3") X87(1037, "faddl %3") X87(1038, "fdivl %3") X87(1039, "fcoms %3")
    X87(1050, "f2xm1") X87(1051, "fyl2x") X87(1052, "fyl2xp1") X87(1053, "fptan") X87(1054, "fpatan") X87(1055, "fsin") X87(1056, "fcos")
    X87(1057, "fsincos")
    default: ans->status = 0xFFFFFFFF; return;
    }
    if (req->op >= 1000) {
        memcpy(ans->result, image + 28, 10);
        memcpy(ans->second, image + 38, 10);
        memcpy(ans->memory, req->c, 16);
        memcpy(&ans->status, image + 4, 2);
        memcpy(&ans->spare, image + 8, 2);
    } else {
        ans->status = faulted ? fault_mxcsr : status;
        ans->faulted = faulted;
    }
}

int main(void)
{
    struct request req;
    struct answer ans;
    struct sigaction sa = { .sa_flags = SA_SIGINFO, .sa_sigaction = on_fpe };
    static char in[1 << 20], out[1 << 20];
    setvbuf(stdin, in, _IOFBF, sizeof in);
    setvbuf(stdout, out, _IOFBF, sizeof out);
    sigaction(SIGFPE, &sa, 0);
    while (fread(&req, sizeof req, 1, stdin) == 1) {
        run(&req, &ans);
        fwrite(&ans, sizeof ans, 1, stdout);
    }
    return fflush(stdout) != 0;
}
