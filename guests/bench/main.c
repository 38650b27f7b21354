/* usage: bench WORKLOAD COUNT | bench time NAME REPEAT STDIN|- PROGRAM ARGUMENTS... | bench together NAME COPIES STDIN|- PROGRAM ARGUMENTS... */
#define _GNU_SOURCE
#include "bench.h"
#include <sched.h>
#include <string.h>
#include <time.h>

const char *self;
static struct timespec started;

void start_clock(void) { clock_gettime(CLOCK_MONOTONIC, &started); }

static long elapsed(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (now.tv_sec - started.tv_sec) * 1000000000L + now.tv_nsec - started.tv_nsec;
}

uint64_t mix(uint64_t sum, uint64_t value) { return (sum ^ value) * 0x100000001B3u; }

void check(int good, const char *what) {
  if (good) return;
  perror(what);
  exit(1);
}

void report(const char *name, uint64_t sum) {
  printf("trapline-bench %s %ld %016lx\n", name, elapsed(), (unsigned long)sum);
  fflush(stdout);
}

/* One CPU, as the guest has: on a host with more, the two ends of a pipe would run beside each other. */
static void stay_on_one_cpu(void) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(sched_getcpu(), &set);
  sched_setaffinity(0, sizeof set, &set);
}

static const struct { const char *name; workload *run; } workloads[] = {
  { "crc", crc }, { "fib", fib }, { "qsort", sort }, { "matrix", matrix }, { "chase", chase }, { "memcpy", copy },
  { "syscall", system_calls }, { "pagefault", page_faults }, { "fork", forks }, { "exec", execs },
  { "pipe", ping_pong }, { "switch", switches },
};

int main(int argc, char **argv) {
  self = argv[0];
  if (argc == 2 && !strcmp(argv[1], "nothing")) return 3;
  if (argc > 5 && !strcmp(argv[1], "together")) return together(argc - 2, argv + 2);
  stay_on_one_cpu();
  if (argc > 5 && !strcmp(argv[1], "time")) return timed(argc - 2, argv + 2);
  for (size_t i = 0; argc == 3 && i < sizeof workloads / sizeof *workloads; i++) {
    if (strcmp(workloads[i].name, argv[1])) continue;
    start_clock();
    uint64_t sum = workloads[i].run(atol(argv[2]));
    report(argv[1], sum);
    return 0;
  }
  fprintf(stderr, "usage: bench WORKLOAD COUNT | bench time|together NAME COUNT STDIN|- PROGRAM ARGUMENTS...\n");
  return 2;
}
