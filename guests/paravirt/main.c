/* Workloads of ./dev bench paravirt: runs those that are named, and prints for each a name and its cost in nanoseconds. */
#define _GNU_SOURCE
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

/* Of many short measurements the lower quartile: the host's other work only ever adds. */
static double quartile(double *values, int count)
{
	qsort(values, count, sizeof *values, ascending);
	return count == 0 ? 0 : values[count / 4];
}

enum { BATCHES = 200 };

/* The library's way, without a system call where the kernel's page allows it. */
static double clock_read(void)
{
	enum { COUNT = 500 };
	double each[BATCHES];
	for (int b = 0; b < BATCHES; b++) {
		int64_t start = now();
		for (int i = 0; i < COUNT; i++)
			now();
		each[b] = (double)(now() - start) / COUNT;
	}
	return quartile(each, BATCHES);
}

/* The kernel's way. */
static double clock_call(void)
{
	enum { COUNT = 200 };
	double each[BATCHES];
	struct timespec t;
	for (int b = 0; b < BATCHES; b++) {
		int64_t start = now();
		for (int i = 0; i < COUNT; i++)
			syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
		each[b] = (double)(now() - start) / COUNT;
	}
	return quartile(each, BATCHES);
}

static int new_timer(void)
{
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	if (timer < 0)
		fail("timerfd_create");
	return timer;
}

static void arm(int timer, long nanoseconds)
{
	struct itimerspec at = { .it_value = { .tv_nsec = nanoseconds } };
	if (timerfd_settime(timer, 0, &at, NULL) != 0)
		fail("timerfd_settime");
}

/* The timer is the next one due, so the kernel programs the local APIC; then it is taken back. */
static double timer_setup(void)
{
	enum { COUNT = 50 };
	double each[BATCHES];
	int timer = new_timer();
	for (int b = 0; b < BATCHES; b++) {
		int64_t start = now();
		for (int i = 0; i < COUNT; i++) {
			arm(timer, 500000);
			arm(timer, 0);
		}
		each[b] = (double)(now() - start) / COUNT;
	}
	close(timer);
	return quartile(each, BATCHES);
}

/* A timer expires under a loop that reads the clock: the longest gap between two readings is its interrupt, with EOI and programming the next one. */
static double interrupt(void)
{
	double gaps[BATCHES];
	uint64_t expired;
	int timer = new_timer(), count = 0;
	for (int b = 0; b < BATCHES; b++) {
		int64_t longest = 0, start = now(), last = start;
		arm(timer, 100000);
		for (int64_t t = last = now(); t - start < 400000; t = now()) {
			if (t - last > longest)
				longest = t - last;
			last = t;
		}
		if (read(timer, &expired, sizeof expired) == sizeof expired)
			gaps[count++] = (double)longest;
	}
	close(timer);
	return quartile(gaps, count);
}

/* From the moment a sleep should end to the return of the call: the vCPU was halted meanwhile. */
static double wakeup(void)
{
	double late[BATCHES];
	for (int b = 0; b < BATCHES; b++) {
		int64_t until = now() + 300000;
		struct timespec t = { .tv_sec = until / 1000000000, .tv_nsec = until % 1000000000 };
		if (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0)
			fail("clock_nanosleep");
		late[b] = (double)(now() - until);
	}
	return quartile(late, BATCHES);
}

static volatile int spinning, enough;

static void stay_on(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof set, &set) != 0)
		fail("sched_setaffinity");
}

static void *spin(void *cpu)
{
	stay_on((int)(intptr_t)cpu);
	__atomic_add_fetch(&spinning, 1, __ATOMIC_SEQ_CST);
	while (!enough)
		__builtin_ia32_pause();
	return NULL;
}

/* Something that this processor does while others run threads of the same program: nanoseconds each time, of several times. */
static double beside(int others, void (*work)(void))
{
	enum { COUNT = 20 };
	double each[BATCHES];
	pthread_t threads[8];
	stay_on(0);
	spinning = enough = 0;
	for (int i = 0; i < others; i++)
		if (pthread_create(&threads[i], NULL, spin, (void *)(intptr_t)(i + 1)) != 0)
			fail("pthread_create");
	while (spinning < others)
		usleep(1000);
	for (int b = 0; b < BATCHES; b++) {
		int64_t start = now();
		for (int i = 0; i < COUNT; i++)
			work();
		each[b] = (double)(now() - start) / COUNT;
	}
	enough = 1;
	for (int i = 0; i < others; i++)
		pthread_join(threads[i], NULL);
	return quartile(each, BATCHES);
}

/* Makes every other processor that runs this program pass a barrier: an interrupt to each, and its answer. */
static void barrier(void)
{
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0)
		fail("membarrier");
}

static double ipi(void)
{
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0)
		fail("membarrier");
	return beside(1, barrier);
}

static char *page;

/* A page loses a right and gets it back: the first of the two flushes the TLBs of all processors that run this program. */
static void take_and_give(void)
{
	*page = 1;
	if (mprotect(page, 4096, PROT_READ) != 0 || mprotect(page, 4096, PROT_READ | PROT_WRITE) != 0)
		fail("mprotect");
}

static double flush(void)
{
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		fail("mmap");
	return beside(3, take_and_give);
}

static const struct {
	const char *name;
	double (*run)(void);
} workloads[] = {
	{ "clock-read", clock_read }, { "clock-call", clock_call }, { "timer-setup", timer_setup }, { "interrupt", interrupt }, { "wakeup", wakeup },
	{ "ipi", ipi }, { "flush", flush },
};

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		for (size_t w = 0; w < sizeof workloads / sizeof *workloads; w++)
			if (strcmp(argv[i], workloads[w].name) == 0)
				printf("%s %.1f\n", argv[i], workloads[w].run());
	return 0;
}
