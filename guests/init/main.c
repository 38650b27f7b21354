/* The init of Trapline's default guest: one static program without a C library. It brings user space up, then serves the host as its agent. */
#include "init.h"

void *memcpy(void *to, const void *from, usize size) {
  void *start = to;
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
  return start;
}

void *memmove(void *to, const void *from, usize size) {
  u8 *t = to;
  const u8 *f = from;
  if (t <= f || t >= f + size) return memcpy(to, from, size);
  while (size--) t[size] = f[size];
  return to;
}

void *memset(void *to, int value, usize size) {
  void *start = to;
  __asm__ volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(value) : "memory");
  return start;
}

__attribute__((noreturn, used, force_align_arg_pointer)) void _start(void) {
  system_up();
  agent_run();
}
