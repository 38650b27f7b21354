/* The agent: runs programs for the host and carries their streams over the line. */
#include "init.h"

struct stream {
  int frame;      /* FRAME_STDOUT or FRAME_STDERR */
  u32 in_flight;  /* bytes that the host has not acknowledged */
};

/* A program and what is on its way to and from it. */
struct session {
  struct program program;
  struct stream output, error;
  int input_ended;
  int exited, status, budget;  /* it has ended; how; reads of what it left behind */
  /* Standard input that the program has not taken yet: a ring that holds a whole window. */
  u32 ring_start, ring_size, input_taken;
  u8 ring[WINDOW_STREAM];
};

static struct session sessions[MAX_PROGRAMS];
static int console = -1, signals = -1;

static u8 number_of(const struct session *s) { return s - sessions; }

static void close_fd(int *fd) {
  if (*fd >= 0) CALL1(SYS_close, *fd);
  *fd = -1;
}

static void input_close(struct session *s, int tell) {
  if (s->program.input < 0) return;
  close_fd(&s->program.input);
  s->ring_size = 0;
  if (tell) line_send(FRAME_STDIN_CLOSED, number_of(s), "", 0);
}

static void input_add(struct session *s, const u8 *data, usize size) {
  if (s->program.input < 0) return;
  for (usize i = 0; i < size && s->ring_size < WINDOW_STREAM; i++)
    s->ring[(s->ring_start + s->ring_size++) % WINDOW_STREAM] = data[i];
}

/* Moves what the pipe or terminal takes, and acknowledges it in lumps. */
static void input_flush(struct session *s) {
  while (s->program.input >= 0 && s->ring_size) {
    u32 run = WINDOW_STREAM - s->ring_start < s->ring_size ? WINDOW_STREAM - s->ring_start : s->ring_size;
    isize n = CALL3(SYS_write, s->program.input, s->ring + s->ring_start, run);
    if (n == -EINTR) continue;
    if (n == -EAGAIN) break;
    if (n < 0) {
      input_close(s, 1);
      return;
    }
    s->ring_start = (s->ring_start + n) % WINDOW_STREAM;
    s->ring_size -= n;
    s->input_taken += n;
  }
  if (s->input_taken >= WINDOW_STREAM / 4 || (s->input_taken && !s->ring_size)) {
    line_send_u32(FRAME_ACK_STDIN, number_of(s), s->input_taken);
    s->input_taken = 0;
  }
  if (!s->input_ended || s->ring_size || s->program.input < 0) return;
  if (s->program.mode == MODE_TERMINAL) write_all(s->program.input, "\4", 1);
  input_close(s, 0);
}

/* Sends one read's worth; false when there was nothing to send. */
static int output_pump(struct session *s, struct stream *stream, int *fd) {
  u8 buffer[MAX_PAYLOAD];
  u32 room = WINDOW_STREAM - stream->in_flight;
  if (*fd < 0 || !room) return 0;
  isize n = CALL3(SYS_read, *fd, buffer, room < sizeof buffer ? room : sizeof buffer);
  if (n == -EAGAIN || n == -EINTR) return 0;
  if (n <= 0) {
    close_fd(fd);
    return 0;
  }
  stream->in_flight += n;
  line_send(stream->frame, number_of(s), buffer, n);
  return 1;
}

static u16 word(const u8 *p) { return p[0] | p[1] << 8; }
static u32 word32(const u8 *p) { return word(p) | (u32)word(p + 2) << 16; }

static void start(struct session *s, const u8 *payload) {
  enum { LEFT_BEHIND = 1024 };
  s->input_ended = s->exited = 0;
  s->budget = LEFT_BEHIND;
  s->ring_start = s->ring_size = s->input_taken = 0;
  s->output = (struct stream){ FRAME_STDOUT, 0 };
  s->error = (struct stream){ FRAME_STDERR, 0 };
  if (program_start(&s->program, payload[0], console, word(payload + 1), word(payload + 3)) < 0) {
    static const u8 cannot_start[] = { 0, 126 };
    line_send(FRAME_EXIT, number_of(s), cannot_start, sizeof cannot_start);
  }
}

static void handle(int type, u8 number, const u8 *payload, usize size) {
  if (number >= MAX_PROGRAMS) return;
  struct session *s = &sessions[number];
  switch (type) {
    case FRAME_ARGUMENT: case FRAME_ARGUMENT_END: case FRAME_VARIABLE: case FRAME_VARIABLE_END:
      program_gather(type, payload, size);
      break;
    case FRAME_START:
      if (size >= 5 && !s->program.pid) start(s, payload);
      break;
    case FRAME_STDIN:
      input_add(s, payload, size);
      input_flush(s);
      break;
    case FRAME_STDIN_END:
      s->input_ended = 1;
      input_flush(s);
      break;
    case FRAME_WINDOW:
      if (size >= 4 && s->program.pid) set_window(s->program.mode == MODE_TERMINAL ? s->program.output : console, word(payload), word(payload + 2));
      break;
    case FRAME_SIGNAL:
      if (size >= 1 && s->program.pid && !s->exited) CALL2(SYS_kill, -s->program.pid, payload[0]);
      break;
    case FRAME_ACK_OUTPUT:
      if (size >= 5) (payload[0] == 1 ? &s->output : &s->error)->in_flight -= word32(payload + 1);
      break;
    case FRAME_CLOSE_OUTPUT:
      if (size >= 1) close_fd(payload[0] == 1 ? &s->program.output : &s->program.error);
      break;
    case FRAME_REFRESH:
      if (size >= 12) refresh(payload, size);
      break;
    case FRAME_CHANGE_ADDRESS:
      if (size >= 12) change_address(payload, payload + 6);
      break;
    case FRAME_POWER_OFF:
      line_drain();
      system_down(POWER_OFF);
  }
}

/* Reports a program that has ended. What it left behind goes first, as the host takes it; a child of it can keep a pipe open, so only so much. */
static void settle(struct session *s) {
  while (s->budget > 0 && (output_pump(s, &s->output, &s->program.output) | output_pump(s, &s->error, &s->program.error))) s->budget--;
  int waits = (s->program.output >= 0 && s->output.in_flight == WINDOW_STREAM) || (s->program.error >= 0 && s->error.in_flight == WINDOW_STREAM);
  if (waits && s->budget > 0) return;
  close_fd(&s->program.input);
  close_fd(&s->program.output);
  close_fd(&s->program.error);
  if (s->program.mode == MODE_SHELL) CALL3(SYS_ioctl, console, TCSBRK, 1);
  s->program.pid = s->exited = 0;
  u8 report[] = { (s->status & 0x7F) != 0, s->status & 0x7F ? s->status & 0x7F : s->status >> 8 & 0xFF };
  line_send(FRAME_EXIT, number_of(s), report, sizeof report);
}

static void reap(void) {
  int status;
  isize pid;
  while ((pid = CALL4(SYS_wait4, -1, &status, WNOHANG, 0)) > 0) {
    for (struct session *s = sessions; s < sessions + MAX_PROGRAMS; s++) {
      if (s->program.pid != pid || s->exited) continue;
      s->exited = 1;
      s->status = status;
    }
  }
}

static void take_signals(void) {
  struct { u32 number; u8 rest[124]; } info;
  while (CALL3(SYS_read, signals, &info, sizeof info) == sizeof info) {
    if (info.number == SIGUSR2) system_down(POWER_OFF);
    if (info.number == SIGUSR1) system_down(HALT);
    if (info.number == SIGTERM || info.number == SIGINT) system_down(REBOOT);
  }
  reap();
}

static void start_shell(void) {
  static const char *const shell[] = { "sh", 0 };
  for (int i = 0; shell[i]; i++) {
    program_gather(FRAME_ARGUMENT, (const u8 *)shell[i], length_of(shell[i]));
    program_gather(FRAME_ARGUMENT_END, 0, 0);
  }
  static const u8 on_console[5] = { MODE_SHELL };
  start(&sessions[0], on_console);
}

void agent_run(void) {
  for (struct session *s = sessions; s < sessions + MAX_PROGRAMS; s++) s->program.input = s->program.output = s->program.error = -1;
  console = CALL2(SYS_open, "/dev/ttyS0", O_RDWR | O_NOCTTY | O_CLOEXEC);
  signals = open_signals();
  int line = line_open();
  if (line < 0) { /* Nobody to talk to: a shell on the console is the most useful thing left. */
    say(console, "init: there is no second serial port, so no agent\n");
    start_shell();
  }
  u8 version = PROTOCOL_VERSION;
  line_send(FRAME_HELLO, 0, &version, 1);
  for (;;) {
    struct poll_entry fds[2 + 3 * MAX_PROGRAMS] = { { line, POLLIN, 0 }, { signals, POLLIN, 0 } };
    struct poll_entry *own = fds + 2;
    for (struct session *s = sessions; s < sessions + MAX_PROGRAMS; s++, own += 3) {
      own[0] = (struct poll_entry){ s->output.in_flight < WINDOW_STREAM ? s->program.output : -1, POLLIN, 0 };
      own[1] = (struct poll_entry){ s->error.in_flight < WINDOW_STREAM ? s->program.error : -1, POLLIN, 0 };
      own[2] = (struct poll_entry){ s->ring_size || s->program.mode == MODE_COMMAND ? s->program.input : -1, s->ring_size ? POLLOUT : 0, 0 };
    }
    if (CALL3(SYS_poll, fds, 2 + 3 * MAX_PROGRAMS, -1) < 0) continue;
    own = fds + 2;
    for (struct session *s = sessions; s < sessions + MAX_PROGRAMS; s++, own += 3) {
      if (own[0].revents) output_pump(s, &s->output, &s->program.output);
      if (own[1].revents) output_pump(s, &s->error, &s->program.error);
      if (own[2].revents & POLLERR) input_close(s, 1);
      else if (own[2].revents) input_flush(s);
    }
    if (fds[0].revents) line_receive(handle);
    if (fds[1].revents) take_signals();
    for (struct session *s = sessions; s < sessions + MAX_PROGRAMS; s++)
      if (s->exited) settle(s);
  }
}
