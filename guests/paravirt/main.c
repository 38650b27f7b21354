/* Workloads of ./dev bench paravirt: runs those that are named, and prints for each a name and its cost in nanoseconds. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* The library's way, without a system call where the kernel's page allows it. */
static double clock_read(void)
{
	enum { COUNT = 200000 };
	int64_t start = now();
	for (int i = 0; i < COUNT; i++)
		now();
	return (double)(now() - start) / COUNT;
}

/* The kernel's way. */
static double clock_call(void)
{
	enum { COUNT = 50000 };
	struct timespec t;
	int64_t start = now();
	for (int i = 0; i < COUNT; i++)
		syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
	return (double)(now() - start) / COUNT;
}

/* Each call makes this timer the next one due, so the kernel programs the local APIC; then it is taken back. */
static double timer_setup(void)
{
	enum { COUNT = 20000 };
	int timer = timerfd_create(CLOCK_MONOTONIC, 0);
	struct itimerspec soon = { .it_value = { .tv_nsec = 500000 } }, off = { 0 };
	if (timer < 0)
		fail("timerfd_create");
	int64_t start = now();
	for (int i = 0; i < COUNT; i++)
		if (timerfd_settime(timer, 0, &soon, NULL) != 0 || timerfd_settime(timer, 0, &off, NULL) != 0)
			fail("timerfd_settime");
	int64_t taken = now() - start;
	close(timer);
	return (double)taken / COUNT;
}

static uint64_t spin(long count)
{
	uint64_t x = 1;
	for (long i = 0; i < count; i++)
		x = x * 6364136223846793005ull + 1442695040888963407ull;
	return x;
}

/*
 * A timer fires every 100 us into a computation: what each expiry adds, with its interrupt, the EOI and programming the next one. The same
 * computation without the timer, read as often in vain, is subtracted.
 */
static double interrupt(void)
{
	enum { STEPS = 2000, WORK = 100000 };
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	struct itimerspec often = { { .tv_nsec = 100000 }, { .tv_nsec = 100000 } };
	volatile uint64_t sink = 0;
	int64_t taken[2];
	uint64_t expired, fired = 0;
	if (timer < 0)
		fail("timerfd_create");
	for (int run = 0; run < 2; run++) {
		if (run == 1 && timerfd_settime(timer, 0, &often, NULL) != 0)
			fail("timerfd_settime");
		int64_t start = now();
		for (int i = 0; i < STEPS; i++) {
			sink += spin(WORK);
			if (read(timer, &expired, sizeof expired) == sizeof expired)
				fired++;
		}
		taken[run] = now() - start;
	}
	close(timer);
	return fired == 0 ? 0 : (double)(taken[1] - taken[0]) / (double)fired;
}

/* From the moment a sleep should end to the return of the call: the vCPU was halted meanwhile. */
static double wakeup(void)
{
	enum { COUNT = 300 };
	int64_t late = 0;
	for (int i = 0; i < COUNT; i++) {
		int64_t until = now() + 300000;
		struct timespec t = { until / 1000000000, until % 1000000000 };
		if (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0)
			fail("clock_nanosleep");
		late += now() - until;
	}
	return (double)late / COUNT;
}

static const struct {
	const char *name;
	double (*run)(void);
} workloads[] = {
	{ "clock-read", clock_read }, { "clock-call", clock_call }, { "timer-setup", timer_setup }, { "interrupt", interrupt }, { "wakeup", wakeup },
};

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		for (size_t w = 0; w < sizeof workloads / sizeof *workloads; w++)
			if (strcmp(argv[i], workloads[w].name) == 0)
				printf("%s %.1f\n", argv[i], workloads[w].run());
	return 0;
}
