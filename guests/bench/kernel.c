/* What goes through the guest's kernel: rings, page tables, processes. */
#define _GNU_SOURCE
#include "bench.h"
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

uint64_t system_calls(long count) {
  long pid = syscall(SYS_getpid);
  uint64_t same = 0;
  while (count--) same += syscall(SYS_getpid) == pid;
  return same;
}

/* Maps 4 MiB, touches each of its pages, unmaps it. */
uint64_t page_faults(long count) {
  enum { SIZE = 4 << 20, PAGE = 4096 };
  uint64_t sum = 0;
  while (count--) {
    uint8_t *p = mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(p != MAP_FAILED, "mmap");
    madvise(p, SIZE, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < SIZE; i += PAGE) {
      sum += p[i] + 1;
      p[i] = 1;
    }
    munmap(p, SIZE);
  }
  return sum;
}

static uint64_t status_of(pid_t pid) {
  int status = -1;
  check(pid > 0 && waitpid(pid, &status, 0) == pid, "waitpid");
  return WEXITSTATUS(status);
}

uint64_t forks(long count) {
  uint64_t sum = 0;
  for (long i = 0; i < count; i++) {
    pid_t pid = fork();
    if (!pid) _exit(i & 63);
    sum = mix(sum, status_of(pid));
  }
  return sum;
}

uint64_t execs(long count) {
  uint64_t sum = 0;
  while (count--) {
    pid_t pid = fork();
    if (!pid) {
      execl(self, self, "nothing", (char *)0);
      _exit(127);
    }
    sum = mix(sum, status_of(pid));
  }
  return sum;
}

static void pass(int fd, uint32_t value) { check(write(fd, &value, sizeof value) == sizeof value, "write"); }

static int take(int fd, uint32_t *value) { return read(fd, value, sizeof *value) == sizeof *value; }

/* A number goes around a ring of processes; each adds one. Zero goes around last and ends them. */
static uint64_t ring(int processes, long laps) {
  int pipes[8][2];
  for (int i = 0; i < processes; i++) check(pipe(pipes[i]) == 0, "pipe");
  for (int i = 1; i < processes; i++) {
    pid_t pid = fork();
    check(pid >= 0, "fork");
    if (pid) continue;
    uint32_t value = 1;
    while (value && take(pipes[i][0], &value)) pass(pipes[(i + 1) % processes][1], value ? value + 1 : 0);
    _exit(0);
  }
  uint32_t value = 1;
  start_clock();
  for (long i = 0; i < laps; i++) {
    pass(pipes[1][1], value);
    check(take(pipes[0][0], &value), "read");
  }
  pass(pipes[1][1], 0);
  take(pipes[0][0], &(uint32_t){ 0 });
  while (wait(0) > 0) { }
  return value;
}

uint64_t ping_pong(long count) { return ring(2, count); }

uint64_t switches(long count) { return ring(8, count); }
