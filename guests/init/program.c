/* Gathers a program's arguments and environment from the host, and starts it. */
#include "init.h"

/* Linux allows an argument 128 KiB and all of them a quarter of the stack's limit, 2 MiB. */
enum { TEXT_SIZE = 4 << 20, MAX_STRINGS = 65536 };

struct strings {
  const char *items[MAX_STRINGS + 1];
  usize count;
};

static char text[TEXT_SIZE];
static usize text_size, string_start;
static struct strings arguments, variables;
static int overflow;

void program_gather(int type, const u8 *data, usize size) {
  if (text_size + size + 1 > TEXT_SIZE) {
    overflow = 1;
    return;
  }
  memcpy(text + text_size, data, size);
  text_size += size;
  if (type != FRAME_ARGUMENT_END && type != FRAME_VARIABLE_END) return;
  struct strings *list = type == FRAME_ARGUMENT_END ? &arguments : &variables;
  if (list->count == MAX_STRINGS) {
    overflow = 1;
    return;
  }
  text[text_size++] = 0;
  list->items[list->count++] = text + string_start;
  list->items[list->count] = 0;
  string_start = text_size;
}

static void forget_strings(void) {
  text_size = string_start = arguments.count = variables.count = 0;
  arguments.items[0] = variables.items[0] = 0;
  overflow = 0;
}

static const char *variable(const char *prefix) {
  for (usize i = 0; i < variables.count; i++)
    if (starts_with(variables.items[i], prefix)) return variables.items[i] + length_of(prefix);
  return 0;
}

/* Runs the program, looked up in PATH like a shell does; returns the error that tells most. */
static isize execute(void) {
  const char *name = arguments.items[0];
  for (const char *p = name; *p; p++)
    if (*p == '/') return CALL3(SYS_execve, name, arguments.items, variables.items);
  const char *path = variable("PATH=");
  isize result = -ENOENT;
  char candidate[4096];
  for (const char *p = path ? path : "/bin"; *name && *p;) {
    usize n = 0;
    while (p[n] && p[n] != ':') n++;
    if (n + length_of(name) + 2 <= sizeof candidate) {
      memcpy(candidate, p, n);
      candidate[n] = '/';
      memcpy(candidate + n + 1, name, length_of(name) + 1);
      isize error = CALL3(SYS_execve, candidate, arguments.items, variables.items);
      if (error != -ENOENT && error != -ENOTDIR) result = error;
    }
    p += n;
    if (*p) p++;
  }
  return result;
}

static void __attribute__((noreturn)) become_program(void) {
  unblock_signals();
  const char *home = variable("HOME=");
  CALL1(SYS_chdir, home ? home : "/");
  isize error = overflow || !arguments.count ? -7 : execute();
  say(2, "trapline: cannot run '");
  say(2, arguments.count ? arguments.items[0] : "");
  say(2, error == -ENOENT ? "' in the guest: not found\n"
    : error == -13 ? "' in the guest: permission denied\n"
    : error == -7 ? "' in the guest: the arguments are too long\n"
    : "' in the guest: not a program\n");
  CALL1(SYS_exit, error == -ENOENT ? 127 : 126);
  for (;;) {}
}

void set_window(int terminal, u16 rows, u16 columns) {
  struct window_size size = { rows, columns, 0, 0 };
  if (rows && columns) CALL3(SYS_ioctl, terminal, TIOCSWINSZ, &size);
}

/* Makes a terminal the child's own, and its streams. */
static void take_terminal(int terminal) {
  CALL0(SYS_setsid);
  CALL3(SYS_ioctl, terminal, TIOCSCTTY, 1);
  for (int fd = 0; fd < 3; fd++) CALL2(SYS_dup2, terminal, fd);
}

/* A new pseudo-terminal: our end twice, for input and output; 0, or the negative error. */
static isize open_terminal(int *terminal, int *input, int *output) {
  int unlocked = 0;
  isize ours = CALL2(SYS_open, "/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (ours < 0) return ours;
  isize again = CALL3(SYS_fcntl, ours, F_DUPFD_CLOEXEC, 0);
  CALL3(SYS_ioctl, ours, TIOCSPTLCK, &unlocked);
  isize theirs = CALL3(SYS_ioctl, ours, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  *input = ours;
  *output = again;
  *terminal = theirs;
  return again < 0 ? again : theirs < 0 ? theirs : 0;
}

static int start_gathered(struct program *program, int mode, int console, u16 rows, u16 columns) {
  int in[2] = { -1, -1 }, out[2] = { -1, -1 }, err[2] = { -1, -1 }, terminal = console;
  if (mode == MODE_COMMAND) {
    isize failed = CALL2(SYS_pipe2, in, O_CLOEXEC);
    if (!failed) failed = CALL2(SYS_pipe2, out, O_CLOEXEC);
    if (!failed) failed = CALL2(SYS_pipe2, err, O_CLOEXEC);
    if (failed) return failed;
    CALL3(SYS_fcntl, in[1], F_SETFL, O_NONBLOCK);
    CALL3(SYS_fcntl, out[0], F_SETFL, O_NONBLOCK);
    CALL3(SYS_fcntl, err[0], F_SETFL, O_NONBLOCK);
  } else {
    if (mode == MODE_TERMINAL) {
      isize failed = open_terminal(&terminal, &in[1], &out[0]);
      if (failed) return failed;
    }
    set_window(terminal, rows, columns);
  }
  isize child = CALL0(SYS_fork);
  if (child == 0) {
    if (mode != MODE_COMMAND) {
      take_terminal(terminal);
    } else {
      CALL0(SYS_setsid);
      CALL2(SYS_dup2, in[0], 0);
      CALL2(SYS_dup2, out[1], 1);
      CALL2(SYS_dup2, err[1], 2);
    }
    become_program();
  }
  if (mode == MODE_COMMAND) {
    CALL1(SYS_close, in[0]);
    CALL1(SYS_close, out[1]);
    CALL1(SYS_close, err[1]);
  }
  if (mode == MODE_TERMINAL) CALL1(SYS_close, terminal);
  *program = (struct program){ child > 0 ? child : 0, mode, in[1], out[0], err[0] };
  return child < 0 ? child : 0;
}

/* Starts what was gathered; 0, or the negative error. */
int program_start(struct program *program, int mode, int console, u16 rows, u16 columns) {
  int result = start_gathered(program, mode, console, rows, columns);
  forget_strings();
  return result;
}
