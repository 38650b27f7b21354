/* Times whole programs, from fork to wait. */
#include "bench.h"
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t once(const char *input, char **arguments, uint64_t sum) {
  int output[2], status;
  check(pipe(output) == 0, "pipe");
  pid_t pid = fork();
  check(pid >= 0, "fork");
  if (!pid) {
    int in = strcmp(input, "-") ? open(input, O_RDONLY) : -1;
    check(!strcmp(input, "-") || in >= 0, input);
    if (in >= 0) dup2(in, 0);
    dup2(output[1], 1);
    close(output[0]);
    close(output[1]);
    execv(arguments[0], arguments);
    check(0, arguments[0]);
  }
  close(output[1]);
  static uint64_t buffer[1 << 13];
  size_t filled = 0;
  for (;;) { /* eight bytes at a time: the sum must cost little beside the program */
    ssize_t n = read(output[0], (char *)buffer + filled, sizeof buffer - filled);
    if (n > 0) filled += n;
    if (n > 0 && filled < sizeof buffer) continue;
    memset((char *)buffer + filled, 0, -filled & 7);
    for (size_t i = 0; i < (filled + 7) / 8; i++) sum = mix(sum, buffer[i]);
    filled = 0;
    if (n <= 0) break;
  }
  close(output[0]);
  check(waitpid(pid, &status, 0) == pid, "waitpid");
  if (status) {
    fprintf(stderr, "%s ended with status %x\n", arguments[0], status);
    exit(1);
  }
  return sum;
}

/* As many copies as asked for, at the same time, on whatever processors there are. */
int together(int argc, char **argv) {
  long copies = atol(argv[1]);
  uint64_t sum = 0, part;
  int sums[2];
  check(pipe(sums) == 0, "pipe");
  start_clock();
  for (long i = 0; i < copies; i++) {
    pid_t pid = fork();
    check(pid >= 0, "fork");
    if (pid) continue;
    part = once(argv[2], argv + 3, 0);
    _exit(write(sums[1], &part, sizeof part) != sizeof part);
  }
  for (long i = 0; i < copies; i++) {
    int status;
    check(wait(&status) > 0 && !status, "wait");
    check(read(sums[0], &part, sizeof part) == sizeof part, "read");
    sum += part; /* they end in any order */
  }
  report(argv[0], sum);
  (void)argc;
  return 0;
}

int timed(int argc, char **argv) {
  uint64_t sum = 0;
  start_clock();
  for (long i = atol(argv[1]); i > 0; i--) sum = once(argv[2], argv + 3, sum);
  report(argv[0], sum);
  (void)argc;
  return 0;
}
