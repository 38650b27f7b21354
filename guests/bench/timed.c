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

int timed(int argc, char **argv) {
  uint64_t sum = 0;
  start_clock();
  for (long i = atol(argv[1]); i > 0; i--) sum = once(argv[2], argv + 3, sum);
  report(argv[0], sum);
  (void)argc;
  return 0;
}
