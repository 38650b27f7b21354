/* Keeps a guest busy and checks what it does: sums, vectors, floating point, memory, signals, timers, children. Ends when standard input does.
 *
 * Whatever the machine does underneath (another engine, a copy of the machine), every round must come to the same results, no signal may be lost and
 * no clock may go back. Any difference is told on standard error and ends the program with status 1.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORDS = 1 << 14 };

static uint64_t buffer[WORDS], copy[WORDS];
static volatile sig_atomic_t alarms, users;

static void fail(const char *what, uint64_t want, uint64_t have) {
  fprintf(stderr, "stress: %s: %llx, not %llx\n", what, (unsigned long long)have, (unsigned long long)want);
  exit(1);
}

static uint64_t integers(void) {
  uint64_t x = 88172645463325252ull, sum = 0;
  for (int i = 0; i < WORDS; i++) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    buffer[i] = x;
    sum = sum * 31 + (x >> (x & 63)) + x % 1000003;
  }
  memcpy(copy, buffer, sizeof buffer);
  if (memcmp(copy, buffer, sizeof buffer)) fail("copy", 0, 1);
  return sum;
}

static uint64_t floats(void) {
  double sum = 0;
  long double wide = 1;
  float narrow[64];
  for (int i = 0; i < 64; i++) narrow[i] = i * 0.37f;
  for (int round = 0; round < 200; round++) {
    for (int i = 0; i < 64; i++) narrow[i] = narrow[i] * 1.0009f + 0.25f;
    sum += narrow[round & 63] / (round + 1.5);
    wide = wide * 1.0000001L + sum;
  }
  double both = sum + (double)wide;
  uint64_t bits;
  memcpy(&bits, &both, sizeof bits);
  return bits;
}

static void on_alarm(int number) {
  (void)number;
  alarms++;
}

static void on_user(int number, siginfo_t *info, void *context) {
  (void)number, (void)context;
  if (info->si_pid != getpid()) fail("sender", getpid(), info->si_pid);
  users++;
}

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void check_time(void) {
  static uint64_t last;
  for (int i = 0; i < 50; i++) {
    uint64_t t = now();
    if (t < last) fail("clock", last, t);
    last = t;
  }
  struct timespec nap = { 0, 500000 };
  uint64_t before = now();
  while (nanosleep(&nap, &nap) && errno == EINTR) {}
  uint64_t slept = now() - before;
  if (slept < 500000) fail("sleep", 500000, slept);
}

static void check_child(uint64_t want) {
  int channel[2];
  if (pipe(channel)) fail("pipe", 0, errno);
  pid_t child = fork();
  if (child == 0) {
    uint64_t sum = integers();
    _exit(write(channel[1], &sum, sizeof sum) == sizeof sum ? 42 : 1);
  }
  uint64_t sum = 0;
  close(channel[1]);
  ssize_t n;
  while ((n = read(channel[0], &sum, sizeof sum)) < 0 && errno == EINTR) {}
  close(channel[0]);
  int status;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  if (n != sizeof sum || sum != want) fail("child's sum", want, sum);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 42) fail("child's status", 42, status);
}

static int input_ended(void) {
  struct pollfd input = { 0, POLLIN, 0 };
  char c;
  return poll(&input, 1, 0) > 0 && read(0, &c, 1) <= 0;
}

int main(void) {
  struct sigaction on = { .sa_handler = on_alarm };
  sigaction(SIGALRM, &on, 0);
  on = (struct sigaction){ .sa_sigaction = on_user, .sa_flags = SA_SIGINFO };
  sigaction(SIGUSR1, &on, 0);
  uint64_t sum = integers(), bits = floats();
  struct itimerval every = { { 0, 2000 }, { 0, 2000 } };
  setitimer(ITIMER_REAL, &every, 0);
  unsigned rounds = 0, sent = 0;
  for (; !input_ended(); rounds++) {
    uint64_t have = integers();
    if (have != sum) fail("sum", sum, have);
    have = floats();
    if (have != bits) fail("floats", bits, have);
    kill(getpid(), SIGUSR1), sent++;
    if ((unsigned)users != sent) fail("signals", sent, users);
    check_time();
    if (rounds % 16 == 0) check_child(sum);
  }
  if (!alarms) fail("alarms", 1, 0);
  printf("ok %u rounds %u alarms\n", rounds, (unsigned)alarms);
  return 0;
}
