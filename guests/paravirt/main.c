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
