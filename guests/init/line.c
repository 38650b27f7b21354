/* Frames over the second serial port. */
#include "init.h"

static int line = -1;
enum { HEADER = 4 };

static u8 pending[HEADER + MAX_PAYLOAD];
static usize pending_size;
static u32 unacknowledged;

int line_open(void) {
  line = CALL2(SYS_open, "/dev/ttyS1", O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (line < 0) return line;
  /* Raw, 8 bits, 115200, local, no echo: reads return as soon as there is a byte. */
  struct terminal raw;
  memset(&raw, 0, sizeof raw);
  raw.control = 0x1002 | 0x30 | 0x80 | 0x800;
  raw.characters[6] = 1; /* VMIN */
  CALL3(SYS_ioctl, line, TCSETS, &raw);
  return line;
}

void line_send(int type, u8 program, const void *payload, usize size) {
  u8 frame[HEADER + MAX_PAYLOAD];
  frame[0] = type;
  frame[1] = program;
  frame[2] = size & 0xFF;
  frame[3] = size >> 8;
  memcpy(frame + HEADER, payload, size);
  write_all(line, frame, HEADER + size);
}

void line_send_u32(int type, u8 program, u32 value) { line_send(type, program, &value, sizeof value); }

/* Waits until the port has sent everything. */
void line_drain(void) { CALL3(SYS_ioctl, line, TCSBRK, 1); }

/* Reads what is there and hands every whole frame to the handler. */
void line_receive(frame_handler *handler) {
  isize n = CALL3(SYS_read, line, pending + pending_size, sizeof pending - pending_size);
  if (n <= 0) return;
  pending_size += n;
  unacknowledged += n;
  if (unacknowledged >= WINDOW_LINE / 4) {
    line_send_u32(FRAME_ACK_LINE, 0, unacknowledged);
    unacknowledged = 0;
  }
  usize start = 0;
  while (pending_size - start >= HEADER) {
    usize size = pending[start + 2] | pending[start + 3] << 8;
    if (size > MAX_PAYLOAD) { /* Not our host: forget everything rather than run off the buffer. */
      pending_size = 0;
      return;
    }
    if (pending_size - start < HEADER + size) break;
    handler(pending[start], pending[start + 1], pending + start + HEADER, size);
    start += HEADER + size;
  }
  memmove(pending, pending + start, pending_size - start);
  pending_size -= start;
}
