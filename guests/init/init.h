#pragma once
#include "kernel.h"
#include "protocol.h"

/* system.c */
enum ending { POWER_OFF, REBOOT, HALT };
void system_up(void);
int open_signals(void);
void unblock_signals(void);
void refresh(const u8 *payload, usize size);
void change_address(const u8 *from, const u8 *to);
void __attribute__((noreturn)) system_down(enum ending ending);

char *command_line_value(const char *name);
void write_file(const char *path, const char *text);

/* root.c */
int root_up(void);

/* share.c */
void shares_up(void);

/* net.c */
void network_up(void);

/* program.c */
struct program {
  isize pid;                 /* 0 when none runs */
  int mode;
  int input, output, error;  /* our ends of its pipes or its terminal, -1 when closed */
};
void program_gather(int type, const u8 *data, usize size);
int program_start(struct program *program, int mode, int console, u16 rows, u16 columns);
void set_window(int terminal, u16 rows, u16 columns);

/* line.c: frames over the second serial port. */
typedef void frame_handler(int type, u8 program, const u8 *payload, usize size);
int line_open(void);
void line_send(int type, u8 program, const void *payload, usize size);
void line_send_u32(int type, u8 program, u32 value);
void line_receive(frame_handler *handler);
void line_drain(void);

/* agent.c */
void __attribute__((noreturn)) agent_run(void);

/* main.c: gcc calls these of its own accord. */
void *memcpy(void *to, const void *from, usize size);
void *memmove(void *to, const void *from, usize size);
void *memset(void *to, int value, usize size);
