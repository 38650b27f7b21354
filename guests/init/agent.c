/* The agent: runs programs for the host and carries their streams over the line. */
#include "init.h"

struct stream {
  int frame;      /* FRAME_STDOUT or FRAME_STDERR */
  u32 in_flight;  /* bytes that the host has not acknowledged */
};

static struct program program = { 0, 0, -1, -1, -1 };
static struct stream output = { FRAME_STDOUT, 0 }, error = { FRAME_STDERR, 0 };
static int console = -1, signals = -1;

/* Standard input that the program's pipe has not taken yet: a ring that holds a whole window. */
static u8 ring[WINDOW_STREAM];
static u32 ring_start, ring_size, input_taken;
static int input_ended;

static void close_fd(int *fd) {
  if (*fd >= 0) CALL1(SYS_close, *fd);
  *fd = -1;
}

static void input_close(int tell) {
  if (program.input < 0) return;
  close_fd(&program.input);
  ring_size = 0;
  if (tell) line_send(FRAME_STDIN_CLOSED, "", 0);
}

static void input_add(const u8 *data, usize size) {
  if (program.input < 0) return;
  for (usize i = 0; i < size && ring_size < WINDOW_STREAM; i++)
    ring[(ring_start + ring_size++) % WINDOW_STREAM] = data[i];
}

/* Moves what the pipe takes, and acknowledges it in lumps. */
static void input_flush(void) {
  while (program.input >= 0 && ring_size) {
    u32 run = WINDOW_STREAM - ring_start < ring_size ? WINDOW_STREAM - ring_start : ring_size;
    isize n = CALL3(SYS_write, program.input, ring + ring_start, run);
    if (n == -EINTR) continue;
    if (n == -EAGAIN) break;
    if (n < 0) {
      input_close(1);
      return;
    }
    ring_start = (ring_start + n) % WINDOW_STREAM;
    ring_size -= n;
    input_taken += n;
  }
  if (input_taken >= WINDOW_STREAM / 4 || (input_taken && !ring_size)) {
    line_send_u32(FRAME_ACK_STDIN, input_taken);
    input_taken = 0;
  }
  if (input_ended && !ring_size) input_close(0);
}

/* Sends one read's worth; false when there was nothing to send. */
static int output_pump(struct stream *stream, int *fd) {
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
  line_send(stream->frame, buffer, n);
  return 1;
}

static u16 word(const u8 *p) { return p[0] | p[1] << 8; }
static u32 word32(const u8 *p) { return word(p) | (u32)word(p + 2) << 16; }

static void start(const u8 *payload) {
  input_ended = 0;
  ring_start = ring_size = input_taken = output.in_flight = error.in_flight = 0;
  if (program_start(&program, payload[0], console, word(payload + 1), word(payload + 3)) < 0) {
    static const u8 cannot_start[] = { 0, 126 };
    line_send(FRAME_EXIT, cannot_start, sizeof cannot_start);
  }
}

static void handle(int type, const u8 *payload, usize size) {
  switch (type) {
    case FRAME_ARGUMENT: case FRAME_ARGUMENT_END: case FRAME_VARIABLE: case FRAME_VARIABLE_END:
      program_gather(type, payload, size);
      break;
    case FRAME_START:
      if (size >= 5 && !program.pid) start(payload);
      break;
    case FRAME_STDIN:
      input_add(payload, size);
      input_flush();
      break;
    case FRAME_STDIN_END:
      input_ended = 1;
      input_flush();
      break;
    case FRAME_WINDOW:
      if (size >= 4) set_window(console, word(payload), word(payload + 2));
      break;
    case FRAME_SIGNAL:
      if (size >= 1 && program.pid) CALL2(SYS_kill, -program.pid, payload[0]);
      break;
    case FRAME_ACK_OUTPUT:
      if (size >= 5) (payload[0] == 1 ? &output : &error)->in_flight -= word32(payload + 1);
      break;
    case FRAME_CLOSE_OUTPUT:
      if (size >= 1) close_fd(payload[0] == 1 ? &program.output : &program.error);
      break;
    case FRAME_REFRESH:
      if (size >= 12) refresh(payload, size);
      break;
    case FRAME_POWER_OFF:
      line_drain();
      system_down(POWER_OFF);
  }
}

/* The program has ended. What it left in the pipes goes first; a child that it left behind can keep a pipe open, so only so much. */
static void finish(int status) {
  for (int budget = 1024; budget; budget--) {
    if (output_pump(&output, &program.output) | output_pump(&error, &program.error)) continue;
    int waits = (program.output >= 0 && output.in_flight == WINDOW_STREAM) || (program.error >= 0 && error.in_flight == WINDOW_STREAM);
    if (!waits) break;
    line_receive(handle);
  }
  close_fd(&program.input);
  close_fd(&program.output);
  close_fd(&program.error);
  if (program.mode == MODE_SHELL) CALL3(SYS_ioctl, console, TCSBRK, 1);
  program.pid = 0;
  u8 report[] = { (status & 0x7F) != 0, status & 0x7F ? status & 0x7F : status >> 8 & 0xFF };
  line_send(FRAME_EXIT, report, sizeof report);
}

static void reap(void) {
  int status;
  isize pid;
  while ((pid = CALL4(SYS_wait4, -1, &status, WNOHANG, 0)) > 0)
    if (pid == program.pid) finish(status);
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

void agent_run(void) {
  console = CALL2(SYS_open, "/dev/ttyS0", O_RDWR | O_NOCTTY | O_CLOEXEC);
  signals = open_signals();
  int line = line_open();
  if (line < 0) { /* Nobody to talk to: a shell on the console is the most useful thing left. */
    static const char *const shell[] = { "sh", 0 };
    say(console, "init: there is no second serial port, so no agent\n");
    for (int i = 0; shell[i]; i++) {
      program_gather(FRAME_ARGUMENT, (const u8 *)shell[i], length_of(shell[i]));
      program_gather(FRAME_ARGUMENT_END, 0, 0);
    }
    program_start(&program, MODE_SHELL, console, 0, 0);
  }
  u8 version = PROTOCOL_VERSION;
  line_send(FRAME_HELLO, &version, 1);
  for (;;) {
    struct poll_entry fds[] = {
      { line, POLLIN, 0 },
      { signals, POLLIN, 0 },
      { output.in_flight < WINDOW_STREAM ? program.output : -1, POLLIN, 0 },
      { error.in_flight < WINDOW_STREAM ? program.error : -1, POLLIN, 0 },
      { program.input, ring_size ? POLLOUT : 0, 0 },
    };
    if (CALL3(SYS_poll, fds, 5, -1) < 0) continue;
    if (fds[0].revents) line_receive(handle);
    if (fds[2].revents) output_pump(&output, &program.output);
    if (fds[3].revents) output_pump(&error, &program.error);
    if (fds[4].revents & POLLERR) input_close(1);
    else if (fds[4].revents) input_flush();
    if (fds[1].revents) take_signals();
  }
}
