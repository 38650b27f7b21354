/* The agent's protocol: frames over the second serial port, as Trapline's src/Trapline/Agent speaks it.
 *
 * A frame is its type (1 byte), the program that it is about (1 byte, 0 to MAX_PROGRAMS - 1, and 0 where it is about none), the payload's length (2 bytes,
 * little-endian) and the payload. Numbers are little-endian. The host gives a program its number with the frames that describe and start it, which are
 * not mixed with those of another, and does not give it again before that program's FRAME_EXIT.
 *
 * Flow control, in both directions, is by credit: a sender stops when a window's worth of bytes is not yet acknowledged.
 *   host to guest   all bytes on the line: WINDOW_LINE, acknowledged (ACK_LINE) when the agent has read them;
 *                   bytes of standard input: WINDOW_STREAM, acknowledged (ACK_STDIN) when the program's pipe took them
 *   guest to host   bytes of stdout and of stderr: WINDOW_STREAM each, acknowledged when the host's stream took them
 * The agent always reads the line, whatever the program does, so no direction can block another.
 */
#pragma once

enum { PROTOCOL_VERSION = 2, MAX_PROGRAMS = 16, WINDOW_LINE = 8192, WINDOW_STREAM = 65536, MAX_PAYLOAD = 4096 };

/* Host to guest. */
enum {
  FRAME_ARGUMENT = 0x01,        /* bytes, appended to the current argument */
  FRAME_ARGUMENT_END = 0x02,    /* ends the current argument */
  FRAME_VARIABLE = 0x03,        /* bytes, appended to the current NAME=VALUE */
  FRAME_VARIABLE_END = 0x04,    /* ends the current variable */
  FRAME_START = 0x05,           /* u8 mode, u16 rows, u16 columns: runs the arguments gathered so far */
  FRAME_STDIN = 0x06,           /* bytes */
  FRAME_STDIN_END = 0x07,       /* end of file, after the bytes sent before; on a terminal, Ctrl-D */
  FRAME_WINDOW = 0x08,          /* u16 rows, u16 columns: of the program's terminal */
  FRAME_SIGNAL = 0x09,          /* u8 signal, to the program's process group */
  FRAME_ACK_OUTPUT = 0x0A,      /* u8 stream (1 or 2), u32 bytes taken */
  FRAME_CLOSE_OUTPUT = 0x0B,    /* u8 stream: nobody reads it any more */
  FRAME_POWER_OFF = 0x0C,       /* ends the guest */
  FRAME_REFRESH = 0x0D,         /* i64 seconds, i32 nanoseconds since 1970, then a seed: this guest began as a copy of another */
  FRAME_CHANGE_ADDRESS = 0x0E,  /* 6 bytes that some network card has for its address, 6 bytes that it is to have */
};

/* Guest to host. */
enum {
  FRAME_HELLO = 0x81,           /* u8 version: the agent is ready for programs */
  FRAME_STDOUT = 0x82,          /* bytes */
  FRAME_STDERR = 0x83,          /* bytes */
  FRAME_EXIT = 0x84,            /* u8 signalled (0 or 1), u8 exit status or signal; then the last frame about it */
  FRAME_ACK_LINE = 0x85,        /* u32 bytes read */
  FRAME_ACK_STDIN = 0x86,       /* u32 bytes taken */
  FRAME_STDIN_CLOSED = 0x87,    /* the program reads no more */
};

/* On the guest's console; with pipes; in a terminal of its own, whose output is all stdout. */
enum { MODE_SHELL = 0, MODE_COMMAND = 1, MODE_TERMINAL = 2 };
